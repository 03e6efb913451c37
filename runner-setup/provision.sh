#!/bin/bash
# Runs site.yml as provision-runners.yml asks for it; all inputs come from the environment:
# INVENTORY, LIMIT, TAGS, CHECK (true or false), SSH_PRIVATE_KEY, SSH_KNOWN_HOSTS, APP_KEY.
# The recap goes to GITHUB_STEP_SUMMARY. Works on a laptop too.
set -euo pipefail
cd "$(dirname "$0")"

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
umask 077
if [ -n "${APP_KEY:-}" ]; then
  printf '%s\n' "$APP_KEY" >"$secrets/app.pem"
  export RUNNER_APP_KEY_FILE=$secrets/app.pem
fi
if [ -n "${SSH_PRIVATE_KEY:-}" ]; then
  printf '%s\n' "$SSH_PRIVATE_KEY" >"$secrets/ssh"
  printf '%s\n' "${SSH_KNOWN_HOSTS:?set the secret RUNNERS_SSH_KNOWN_HOSTS, from ssh-keyscan}" >"$secrets/known_hosts"
  export ANSIBLE_PRIVATE_KEY_FILE=$secrets/ssh
  export ANSIBLE_SSH_ARGS="-o UserKnownHostsFile=$secrets/known_hosts -o StrictHostKeyChecking=yes"
fi
case "${INVENTORY:?name an inventory file below inventory/}" in
  */* | .*) echo "inventory is '$INVENTORY', expected the name of a file below inventory/" >&2 && exit 2 ;;
esac
[ -f "inventory/$INVENTORY" ] || { echo "inventory/$INVENTORY does not exist; there are: $(ls inventory)" >&2; exit 2; }

arguments=(--inventory "inventory/$INVENTORY")
[ -n "${LIMIT:-}" ] && arguments+=(--limit "$LIMIT")
[ -n "${TAGS:-}" ] && arguments+=(--tags "$TAGS")
case "${CHECK:-true}" in
  true) arguments+=(--check --diff) ;;
  false) ;;
  *) echo "CHECK is '$CHECK', expected true or false" >&2 && exit 2 ;;
esac

code=0
ansible-playbook site.yml "${arguments[@]}" | tee "$secrets/log" || code=$?
{
  echo "### Runners: ${CHECK:-true}" | sed 's/: true$/: dry run/; s/: false$/: provisioned/'
  echo '```'
  # A line that closes the block early, or a runaway log, must not spoil the summary.
  sed -n '/^PLAY RECAP/,$p' "$secrets/log" | tr -d '`' | head -c 100000
  echo '```'
} >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
exit "$code"
