#!/bin/bash
# Measures on a new machine and prints the table of docs/runners.md. Started by run.sh.
set -euo pipefail
molecule destroy && molecule create && molecule prepare && molecule converge
export MOLECULE_INVENTORY_FILE=$MOLECULE_EPHEMERAL_DIRECTORY/inventory
python tests/host/figures.py
molecule destroy
