"""What a supervisor knows of its runner: phase, registration, counters.

Kept twice. In memory (/run), which no job can fill, so that it is right as long as the host runs: an old
registration taken for the live one would cost a job. On disk, for the time after the host's restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from thebes_runner import system
from thebes_runner.settings import Instance


def read(instance: Instance) -> dict[str, Any]:
    """What is in memory; if that can't be understood nothing, as an older word is worse than none."""
    in_memory = instance.live_state_file.exists()
    return system.read_state(instance.live_state_file if in_memory else instance.state_file)


def write_live(instance: Instance, state: Mapping[str, Any]) -> None:
    system.write_atomic(instance.live_state_file, json.dumps(state))


def write(instance: Instance, state: Mapping[str, Any]) -> None:
    """OSError when one of them is out of date; the other is written all the same."""
    try:
        write_live(instance, state)
    finally:
        system.write_atomic(instance.state_file, json.dumps(state))
