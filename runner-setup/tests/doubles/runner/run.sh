#!/bin/bash
cd "$(dirname "$0")" || exit 1
./bin/Runner.Listener run "$@"
code=$?
[ "$code" -eq 2 ] && exit 2
exit 0
