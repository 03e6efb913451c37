"""What a planner may move: whole files, and parts of the files that are too long. Pure.

An atom is a top-level function or class: `a.py::TestX::test_y[p]` belongs to `TestX`, `a.py::test_z[p]` to
`test_z`. Cuts go between atoms. A class, or the parametrized family of a function, is opened only where the
grain says so.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import ceil, fsum, inf
from typing import NamedTuple, TypeVar

from thebes.plan.estimate import Estimate

Test = tuple[str, Estimate]
_Key = TypeVar("_Key")


class Load(NamedTuple):
    """A test file as the planner sees it, in seconds.

    `tests` are the known node ids; without them the file has `seconds` and cannot be cut. `overhead` is
    what every shard pays that holds a part of the file (import, module and session fixtures), on top of its
    tests. `spread` is how much longer the file may well be; it matters where `tests` are not known.
    """

    file: str
    tests: tuple[Test, ...] = ()
    seconds: float = 0.0
    overhead: float = 0.0
    spread: float = 0.0


class Part(NamedTuple):
    """Tests of one file that stay together; `tests` is None for all of them."""

    file: str
    tests: tuple[str, ...] | None


class Unit(NamedTuple):
    """What goes to one shard undivided. `seconds` is without the overhead of its files."""

    seconds: float
    parts: tuple[Part, ...]


class Grain(NamedTuple):
    """The longest thing, in seconds, that stays in one piece: files and what they are cut into (`chunk`),
    classes (`group`), families of parametrized tests (`family`)."""

    chunk: float
    group: float = inf
    family: float = inf


class Ties(NamedTuple):
    """What must not be cut: `whole` files, and groups that share a shard (`names`, by node id). Groups that
    `span` several files force these files to be cut, so that their other tests stay free."""

    whole: frozenset[str] = frozenset()
    names: Mapping[str, str] = {}
    span: frozenset[str] = frozenset()


def ties(loads: Iterable[Load], whole: Collection[str], together: Callable[[str], str | None] | None) -> Ties:
    if together is None:
        return Ties(frozenset(whole))
    names: dict[str, str] = {}
    files: dict[str, set[str]] = {}
    for load in loads:
        if load.file in whole:
            continue
        for test, _ in load.tests:
            name = together(test)
            if name is not None:
                names[test] = name
                files.setdefault(name, set()).add(load.file)
    return Ties(frozenset(whole), names, frozenset(name for name, where in files.items() if len(where) > 1))


def length(load: Load) -> float:
    """Seconds of the file's tests, the same whatever their order."""
    return fsum(estimate.seconds for _, estimate in load.tests) if load.tests else load.seconds


def divide(loads: Iterable[Load], grain: Grain, tied: Ties) -> list[Unit]:
    """Every file once, whole or cut as `grain` says."""
    result: list[Unit] = []
    groups: dict[str, list[Unit]] = {}
    for load in loads:
        seconds = length(load)
        if not _must_cut(load, seconds, grain, tied):
            result.append(Unit(seconds, (Part(load.file, None),)))
            continue
        free: list[Test] = []
        for name, tests in _grouped(sorted(load.tests), tied.names.get).items():
            if name is None:
                free = tests
            else:
                groups.setdefault(name, []).append(_unit(load.file, tests))
        result.extend(_unit(load.file, chunk) for chunk in _chunks(_atoms(load.file, free, grain), grain.chunk))
    result.extend(
        Unit(fsum(unit.seconds for unit in group), tuple(unit.parts[0] for unit in group)) for group in groups.values()
    )
    return result


def _must_cut(load: Load, seconds: float, grain: Grain, tied: Ties) -> bool:
    if load.file in tied.whole:
        return False
    if len(load.tests) > 1 and seconds > grain.chunk:
        return True
    return bool(tied.span) and any(tied.names.get(test) in tied.span for test, _ in load.tests)


def _atoms(file: str, tests: Sequence[Test], grain: Grain) -> list[list[Test]]:
    """Top-level functions and classes; those beyond the grain as methods, families or single tests."""
    start = len(file) + 2
    result: list[list[Test]] = []
    for top in _grouped(tests, lambda test: test[start:].split("[", 1)[0].split("::", 1)[0]).values():
        families = list(_grouped(top, lambda test: test[start:].split("[", 1)[0]).values())
        limit = grain.group if len(families) > 1 else grain.family
        if _weight(top) <= limit:
            result.append(top)
            continue
        for family in families:
            result.extend([family] if _weight(family) <= grain.family else [[test] for test in family])
    return result


def _chunks(atoms: Sequence[list[Test]], limit: float) -> list[list[Test]]:
    """Neighbouring atoms joined to chunks of about equal length, over `limit` by half an atom at most."""
    total = fsum(_weight(atom) for atom in atoms)
    share = total / ceil(total / limit) if total > limit > 0 else total
    result: list[list[Test]] = []
    end = 0.0
    done = 0.0
    for atom in atoms:
        seconds = _weight(atom)
        if not result or done + seconds / 2 > end:
            result.append([])
            end += share
        result[-1].extend(atom)
        done += seconds
    return result


def _grouped(tests: Iterable[Test], key: Callable[[str], _Key]) -> dict[_Key, list[Test]]:
    groups: dict[_Key, list[Test]] = {}
    for test in tests:
        groups.setdefault(key(test[0]), []).append(test)
    return groups


def _weight(tests: Iterable[Test]) -> float:
    return fsum(estimate.seconds for _, estimate in tests)


def _unit(file: str, tests: Sequence[Test]) -> Unit:
    return Unit(_weight(tests), (Part(file, tuple(test for test, _ in tests)),))
