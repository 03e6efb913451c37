"""pytest-split's `.test_durations`: `{node id: seconds}`, to come from and to go back to."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from thebes.codec import UNDECODABLE, read_bytes, write_atomic
from thebes.errors import FormatError

LONGEST = 1e9  # seconds, thirty years: any number of these can be added up


def read_durations(path: Path) -> dict[str, float]:
    """Seconds by node id. FormatError if the file is not an object of numbers from 0 to `LONGEST`."""
    try:
        durations = msgspec.json.decode(read_bytes(path), type=dict[str, float])
    except UNDECODABLE as error:
        raise FormatError(f"{path}: not a file of test durations: {error}") from None
    for test, value in durations.items():
        if not 0 <= value <= LONGEST:
            raise FormatError(f"{path}: {test}: {value} is not a duration; expected seconds from 0 to {LONGEST:.0f}")
    return durations


def write_durations(path: Path, durations: Mapping[str, float]) -> None:
    """As pytest-split writes it: sorted, indented."""
    text = json.dumps(dict(sorted(durations.items())), indent=4)
    write_atomic(path, text.encode() + b"\n")
