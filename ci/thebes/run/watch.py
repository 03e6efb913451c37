"""Follows a record while it is being written, for progress and for `--maxfail`."""

from dataclasses import dataclass, field
from pathlib import Path

from thebes.codec import UNDECODABLE, decode_line
from thebes.model import Collected, End, Leak, Start

RED = frozenset({"failed", "error", "crashed"})
KINDS = (b'{"kind":"end"', b'{"kind":"start"', b'{"kind":"collected"', b'{"kind":"leak"')


@dataclass(slots=True)
class Watch:
    """What a growing record has said so far. `red`: names of tests that failed, as they come."""

    path: Path
    selected: int = 0
    ended: int = 0
    running: str = ""
    red: list[str] = field(default_factory=list)
    _offset: int = 0

    def poll(self) -> list[str]:
        """Read what is new; returns the names of tests that newly failed."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        before = len(self.red)
        for raw in whole.splitlines():
            if raw.startswith(KINDS):
                self._take(raw)
        return self.red[before:]

    def _take(self, raw: bytes) -> None:
        try:
            line = decode_line(raw)
        except UNDECODABLE:
            return  # merging will name it
        match line:
            case Start():
                self.running = line.id
            case Collected():
                self.selected += len(line.ids) if line.own is None else len(line.own)
            case End(rerun=False):
                self.ended += 1
                if line.outcome in RED:
                    self.red.append(line.id)
            case Leak(fails=True) if line.id not in self.red:
                self.red.append(line.id)
