#!/bin/bash
# Usage: run.sh COMMAND … — runs it with an engine, an image and a fake GitHub at hand.
cd "$(dirname "$0")/../.."
export VENV=$PWD/.venv
export CACHE=${CACHE:-$PWD/.cache}
# shellcheck source=engine.sh
. tests/host/engine.sh
# shellcheck source=github.sh
. tests/host/github.sh
# shellcheck source=registry.sh
. tests/host/registry.sh
start_engine
build_image
start_fake_github
start_registry
rm -rf "$CACHE/molecule" # what an earlier run remembers of its machine
export MOLECULE_EPHEMERAL_DIRECTORY=$CACHE/molecule MOLECULE_INVENTORY_FILE=$CACHE/molecule/inventory
export PATH=$VENV/bin:/usr/bin:$PATH ANSIBLE_FORCE_COLOR=0 PY_COLORS=0
"$@"
