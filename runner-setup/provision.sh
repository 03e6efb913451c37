#!/bin/bash
# Runs site.yml as provision-runners.yml asks for it; all inputs come from the environment:
# INVENTORY, LIMIT, TAGS, CHECK (true or false), SSH_PRIVATE_KEY, SSH_KNOWN_HOSTS, APP_KEY or TOKEN,
# GOOGLE_KEY. What the clouds' own libraries read (AWS_…, AZURE_…) is left to them. The recap goes to GITHUB_STEP_SUMMARY. Works on a laptop too.
set -euo pipefail
cd "$(dirname "$0")"

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
umask 077
if [ -n "${APP_KEY:-}" ]; then
  printf '%s\n' "$APP_KEY" >"$secrets/app.pem"
  export RUNNER_APP_KEY_FILE=$secrets/app.pem
fi
if [ -n "${TOKEN:-}" ]; then
  printf '%s\n' "$TOKEN" >"$secrets/token"
  export RUNNER_TOKEN_FILE=$secrets/token
fi
if [ -n "${GOOGLE_KEY:-}" ]; then
  printf '%s\n' "$GOOGLE_KEY" >"$secrets/google.json"
  export GOOGLE_APPLICATION_CREDENTIALS=$secrets/google.json
fi
# Only files hold them from here on, which the playbook's own commands can't print.
unset APP_KEY TOKEN GOOGLE_KEY
if [ -n "${SSH_PRIVATE_KEY:-}" ]; then
  printf '%s\n' "$SSH_PRIVATE_KEY" >"$secrets/ssh"
  printf '%s\n' "${SSH_KNOWN_HOSTS:?set the secret RUNNERS_SSH_KNOWN_HOSTS, from ssh-keyscan}" >"$secrets/known_hosts"
  # A file, as options of the command line don't hold for a bastion (-J).
  printf '%s\n' "IdentityFile $secrets/ssh" "UserKnownHostsFile $secrets/known_hosts" "StrictHostKeyChecking yes" >"$secrets/config"
  # The first two are Ansible's own defaults: one connection for all tasks.
  export ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=60s -F $secrets/config"
  unset SSH_PRIVATE_KEY
fi
case "${INVENTORY:?name an inventory file below inventory/}" in
  */* | .*) echo "inventory is '$INVENTORY', expected the name of a file below inventory/" >&2 && exit 2 ;;
esac
[ -f "inventory/$INVENTORY" ] || { echo "inventory/$INVENTORY does not exist; there are: $(cd inventory && echo *.yml)" >&2; exit 2; }

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
# A file, as nothing below may end a command that still writes: of a long recap that would be the end of all.
sed -n '/^PLAY RECAP/,$p' "$secrets/log" >"$secrets/recap"
{
  echo "### Runners: ${CHECK:-true}" | sed 's/: true$/: dry run/; s/: false$/: provisioned/'
  echo '```'
  # A line that closes the block early, or a runaway log, must not spoil the summary.
  head -c 100000 "$secrets/recap" | tr -d '`'
  printf '\n```\n'
} >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
# Without machines Ansible is content; a tag that is gone, or a wrong region, would look like success.
if [ "$code" = 0 ] && ! grep -q ok= "$secrets/recap"; then
  echo "no machine was reached: inventory/$INVENTORY names none${LIMIT:+ with the limit $LIMIT}" >&2
  code=3
fi
exit "$code"
