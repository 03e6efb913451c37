#!/bin/bash
# Usage: runner-setup/tests/qemu/machine.sh tools/memory_in_machine.sh — test-memory on that machine, whose control
# groups are version 2 and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The machine has Debian 12's Python and no way to PyPI: it gets this package and the locked ones as wheels.
mkdir "$scratch/wheels"
.venv/bin/pip download --quiet --no-deps --require-hashes --python-version 3.11 --only-binary :all: \
  --dest "$scratch/wheels" --requirement requirements/dev.txt
.venv/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$scratch/wheels" .
git ls-files -z tests pyproject.toml | tar --create --null --files-from - --file "$scratch/tests.tar"

read -ra ssh <<<"$MACHINE_SSH"
"${ssh[@]}" 'rm -rf /root/thebes && mkdir /root/thebes'
tar --create --directory "$scratch" . | "${ssh[@]}" 'tar --extract --directory /root/thebes'
"${ssh[@]}" bash -s <<'MACHINE'
set -euo pipefail
cd /root/thebes
tar --extract --file tests.tar
python3 -m venv .venv
.venv/bin/pip install --quiet --no-index --find-links wheels 'thebes[cli]' pytest-xdist hypothesis
.venv/bin/python -m pytest -q tests/hosts/test_out_of_memory.py
MACHINE
