"""For what happens in other processes and tells nobody when: asked until it holds, within a limit."""

import time
from collections.abc import Callable

LIMIT = 60.0  # seconds; a loaded machine is no reason to fail
PAUSE = 0.02


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Return as soon as `holds`; AssertionError, saying `what` never came true, after the limit."""
    deadline = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(PAUSE)
