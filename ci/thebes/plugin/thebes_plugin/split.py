"""Which shard runs which test: pure functions, shared by the planner and by every process of every shard."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b

SPEEDS = ("fast", "medium", "slow")


def file_key(nodeid: str) -> str:
    """What identifies a test file: its node id, up to the first `::`."""
    return nodeid.partition("::")[0]


def stable_hash(text: str, modulus: int) -> int:
    """0 ≤ result < modulus, the same in every process and on every machine."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % modulus


def family(test: str) -> str:
    """A test's id without its parameters: those may differ between processes, the family does not."""
    return test.partition("[")[0]


def atom(test: str) -> str:
    """The top-level function or class that a test (an id without its file) belongs to."""
    return family(test).partition("::")[0]


def homes(test: str) -> tuple[str, str]:
    """What a test belongs to, the nearest first: its function or method with all parameters; what is top-level."""
    whole = family(test)
    return whole, whole.partition("::")[0]


def gate_of(path: str, claims: Mapping[str, Iterable[str]], default: str) -> str:
    """The gate whose claimed folder or file is the longest prefix of `path` (all relative to the project)."""
    best, gate = -1, default
    for name, prefixes in claims.items():
        for prefix in prefixes:
            inside = prefix in {".", path} or path.startswith(prefix.rstrip("/") + "/")
            if inside and len(prefix) > best:
                best, gate = len(prefix), name
    return gate


def markers_of_speeds(declared: Collection[str]) -> list[str]:
    """The markers for fast, medium and slow tests; the project's own markers, `declared`, keep their meaning."""
    return [f"thebes_{name}" if name in declared else name for name in SPEEDS]


class Cut:
    """A file that several shards hold pieces of. `pieces[k]` are the known tests of the k-th holder.
    `whole_classes`: a class that nobody knew stays in one piece, too. `grouped`: the plan knew of groups."""

    def __init__(
        self, file: str, pieces: Sequence[Sequence[str]], *, whole_classes: bool = False, grouped: bool = False
    ) -> None:
        self.file = file
        self.holders = len(pieces)
        self.grouped = grouped
        self._unit = atom if whole_classes else family
        self._owner = {test: rank for rank, piece in enumerate(pieces) for test in piece}
        self._homes: dict[str, int | None] = {}
        for test, rank in self._owner.items():
            for home in {*homes(test)}:
                self._homes[home] = rank if self._homes.get(home, rank) == rank else None

    def planned(self, test: str) -> int | None:
        """The rank of the holder that the plan gives the test to; None: it did not know the test."""
        return self._owner.get(test)

    def join(self, groups: Mapping[str, str]) -> None:
        """Let unknown tests go where their group is: `groups` are those of this file's tests that have one. Where the
        plan knew of no group, not every holder sees the groups of the tests that it knew."""
        known: dict[str, int] = {}
        for test in sorted(groups) if self.grouped else ():
            if test in self._owner:
                known.setdefault(groups[test], self._owner[test])
        for test, group in groups.items():
            self._owner.setdefault(test, known.get(group, stable_hash(f"{self.file}@{group}", self.holders)))

    def owner(self, test: str) -> int:
        """The rank of the holder that runs `test`: as planned; with its family, or its class, if that is all in one
        place; else by the hash of its family, or of its class."""
        if (rank := self._owner.get(test)) is not None:
            return rank
        for name in homes(test):
            if (home := self._homes.get(name)) is not None:
                return home
        return stable_hash(f"{self.file}::{self._unit(test)}", self.holders)
