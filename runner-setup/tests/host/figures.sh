#!/bin/bash
# Measures on a new machine and prints the table of docs/runners.md. Started by run.sh.
set -euo pipefail
molecule destroy && molecule create && molecule prepare && molecule converge
MOLECULE_INVENTORY_FILE=$(ls -td "$HOME"/.ansible/tmp/molecule.*.default/inventory | head -1)
export MOLECULE_INVENTORY_FILE
python tests/host/figures.py
molecule destroy
