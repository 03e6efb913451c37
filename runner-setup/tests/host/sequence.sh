#!/bin/bash
# The whole tier on a new machine: check, converge, idempotence, jobs and faults, removal; then the
# table of what was measured. Started by run.sh. Usage: sequence.sh PYTEST-ARGUMENT …
set -euo pipefail
export FIGURES=$CACHE/figures HOST_SHELL="ssh -F $SSH_CONFIG thebes-host bash -s"
: >"$FIGURES"

# Usage: step NAME MOLECULE-COMMAND; its output is shown when it fails.
step() {
  local start=$EPOCHREALTIME
  molecule "$2" >"$CACHE/$2.log" 2>&1 || { tail -60 "$CACHE/$2.log"; echo "molecule $2 failed; all of it is in $CACHE/$2.log" >&2; exit 1; }
  printf '%s\t%.0f s\n' "$1" "$(echo "$EPOCHREALTIME $start" | awk '{ print $1 - $2 }')" | tee -a "$CACHE/steps"
}

: >"$CACHE/steps"
step "make a bare machine, and download the packages" create
step "dry run on the bare machine" check
step "provision a bare machine with two runners (packages downloaded before)" converge
step "second run, which must change nothing" idempotence
grep -E '^(provision|second)' "$CACHE/steps" >>"$FIGURES"
pytest --verbose --maxfail=4 --durations=10 "$@"
printf '\n| what | measured |\n|---|---|\n'
awk -F'\t' '{ print "| " $1 " | " $2 " |" }' "$FIGURES"
