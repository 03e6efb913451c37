"""Which files and tests are this shard's."""

from pathlib import Path
from typing import Any

from .split import Cut, gate_of, stable_hash


class SpeedMarks:
    """The marker of each test, by how long past runs say that it takes."""

    def __init__(self, told: dict[str, Any] | None) -> None:
        self.names: tuple[str, ...] = tuple(told["names"]) if told else ()
        self._marks: dict[str, str] = {}
        if told:
            self._marks = {
                test: name
                for name, tests in zip(self.names[1:], (told["medium"], told["slow"]), strict=True)
                for test in tests
            }

    def of(self, test: str) -> str:
        return self._marks.get(test, self.names[0])


class Shard:
    """What `thebes task` asks of this process, and the decision which file and test is whose."""

    def __init__(self, instructions: dict[str, Any]) -> None:
        self.record: str = instructions["record"]
        self.traces: str = instructions["traces"]
        self.project: str = instructions["project"]
        self.rootdir: str = instructions["rootdir"]
        self.inipath: str | None = instructions["inipath"]
        self.gate: str = instructions["gate"]
        self.default_gate: str = instructions["default_gate"]
        self.claims: dict[str, list[str]] = instructions["claims"]
        self.marker: str | None = instructions["marker"]
        self.maxfail: int | None = instructions["maxfail"]
        self.test_limit: float | None = instructions["test_limit"]
        self.done = frozenset(instructions["done"])
        self.failed_before: int = instructions["failed_before"]
        self.broken: dict[str, str] = instructions["broken"]
        self.index: int = instructions["index"]
        self.of: int = instructions["of"]
        self.known = frozenset(instructions["known"])
        self.memory_limit: int | None = instructions["memory_limit"]
        self.measure_memory: bool = instructions["measure_memory"]
        self.leaks: str | None = instructions["leaks"]
        self.part: str | None = instructions["part"]
        self.default_limit: float | None = instructions["default_limit"]
        self.narrowed: bool = instructions["narrowed"]
        self.collect: bool = instructions["collect"]
        self.speeds = SpeedMarks(instructions["speeds"])
        self._only = None if instructions["only"] is None else frozenset(instructions["only"])
        self.one: bool = instructions["one"]
        self.finished = frozenset(instructions["finished"])
        self.whole = frozenset(file for file in instructions["whole"] if self._wants(file))
        self.markers = tuple(name.removeprefix("@") for name in instructions["together"] if name.startswith("@"))
        classes = "class" in instructions["together"]
        grouped: bool = instructions["grouped"]
        cuts = {file: pieces for file, (_, pieces) in instructions["cut"].items() if self._wants(file)}
        self.cuts = {file: Cut(file, pieces, whole_classes=classes, grouped=grouped) for file, pieces in cuts.items()}
        self.ranks = {file: rank for file, (rank, _) in instructions["cut"].items()}

    def foreign_paths(self) -> frozenset[str]:
        """Where the files of other shards are, for those whose key is a path."""
        return frozenset(f"{self.rootdir}/{file}" for file in self.known - self.whole - self.cuts.keys())

    def holds(self, file: str, path: Path) -> bool:
        """Does this shard collect `file`? One that no shard was given goes by its hash within its gate."""
        if file in self.whole or file in self.cuts:
            return True
        if self.narrowed or file in self.known or not self._wants(file):
            return False
        return self._gate_of(path) == self.gate and stable_hash(file, self.of) == self.index

    def _wants(self, file: str) -> bool:
        """Is `file` one for this session? An earlier one may have finished it, another be meant for it."""
        return file not in self.finished and self.part in {None, file}

    def runs(self, file: str, test: str) -> bool:
        cut = self.cuts.get(file)
        return cut is None or cut.owner(test) == self.ranks[file]

    def leaves(self, file: str, test: str) -> bool:
        """Is `test`, of a cut file, planned for another shard, and nothing needed of it here?"""
        cut = self.cuts[file]
        return not cut.grouped and cut.planned(test) not in {None, self.ranks[file]}

    @property
    def narrows(self) -> bool:
        """Is any test of its files not for this session?"""
        return bool(self.cuts or self.done or self.one or self._only is not None)

    def is_asked_for(self, nodeid: str) -> bool:
        """Where only certain tests, or all of certain files, are to be run."""
        return self._only is None or nodeid in self._only or nodeid.partition("::")[0] in self._only

    def _gate_of(self, path: Path) -> str:
        try:
            relative = path.relative_to(self.project).as_posix()
        except ValueError:
            return self.default_gate
        return gate_of(relative, self.claims, self.default_gate)
