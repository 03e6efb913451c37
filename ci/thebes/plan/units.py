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


class Setups(NamedTuple):
    """Costly fixtures that tests of a file share: every shard that runs one of these tests pays their `seconds` once,
    by name, whatever the file. All tests of the file need the `common` ones; `of`: what single tests need beside."""

    seconds: Mapping[str, float] = {}
    common: frozenset[str] = frozenset()
    of: Mapping[str, tuple[str, ...]] = {}

    def apart(self, tests: Iterable[Test]) -> set[str]:
        """What these tests need and others of the file do not."""
        return {name for test, _ in tests for name in self.of.get(test, ())} if self.of else set()

    def cost(self, names: Iterable[str]) -> float:
        return fsum(self.seconds[name] for name in names)


class Load(NamedTuple):
    """A test file as the planner sees it, in seconds.

    `tests` are the known node ids; without them the file has `seconds` and cannot be cut. `overhead` is
    what every shard pays that holds a part of the file (import, and fixtures that are not among `setups`), on top
    of its tests. `spread` is how much longer the file may well be; it matters where `tests` are not known.
    """

    file: str
    tests: tuple[Test, ...] = ()
    seconds: float = 0.0
    overhead: float = 0.0
    spread: float = 0.0
    setups: Setups = Setups()

    def needs(self, tests: Iterable[Test] | None = None) -> tuple[str, ...]:
        """What a shard pays once that holds these tests, or the whole file: names of the file and of fixtures."""
        if not self.setups.seconds:
            return (self.file,)
        names = self.setups.seconds.keys() if tests is None else self.setups.common | self.setups.apart(tests)
        return (self.file, *sorted(names))


class Part(NamedTuple):
    """Tests of one file that stay together; `tests` is None for all of them."""

    file: str
    tests: tuple[str, ...] | None


class Unit(NamedTuple):
    """What goes to one shard undivided. `seconds` is without what it `needs`: the overhead of its files, and costly
    fixtures."""

    seconds: float
    parts: tuple[Part, ...]
    needs: tuple[str, ...]


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


def overheads(loads: Iterable[Load]) -> dict[str, float]:
    """Seconds of everything that units may need."""
    found: dict[str, float] = {}
    for load in loads:
        if load.overhead:
            found[load.file] = load.overhead
        found |= load.setups.seconds
    return found


def work(loads: Sequence[Load]) -> float:
    """Seconds of all of them together on one machine, where each fixture is set up once."""
    return fsum(length(load) for load in loads) + fsum(overheads(loads).values())


def divide(loads: Iterable[Load], grain: Grain, tied: Ties) -> list[Unit]:
    """Every file once, whole or cut as `grain` says."""
    result: list[Unit] = []
    groups: dict[str, list[Unit]] = {}
    for load in loads:
        seconds = length(load)
        if not _must_cut(load, seconds, grain, tied):
            result.append(Unit(seconds, (Part(load.file, None),), load.needs()))
            continue
        free: list[Test] = []
        for name, tests in _grouped(sorted(load.tests), tied.names.get).items():
            if name is None:
                free = tests
            else:
                groups.setdefault(name, []).append(_unit(load, tests))
        atoms = _atoms(load, free, grain)
        result.extend(_unit(load, chunk) for chunk in _chunks(atoms, _costs(atoms, load.setups), grain.chunk))
    result.extend(_joined(group) for group in groups.values())
    return result


def _joined(group: Sequence[Unit]) -> Unit:
    needs = dict.fromkeys(need for unit in group for need in unit.needs)
    return Unit(fsum(unit.seconds for unit in group), tuple(unit.parts[0] for unit in group), tuple(needs))


def _must_cut(load: Load, seconds: float, grain: Grain, tied: Ties) -> bool:
    if load.file in tied.whole:
        return False
    if len(load.tests) > 1 and seconds + load.setups.cost(load.setups.apart(load.tests)) > grain.chunk:
        return True
    return bool(tied.span) and any(tied.names.get(test) in tied.span for test, _ in load.tests)


def _atoms(load: Load, tests: Sequence[Test], grain: Grain) -> list[list[Test]]:
    """Top-level functions and classes; those beyond the grain as methods, families or single tests. Those that need
    the same costly fixtures are joined, or neighbours."""
    start = len(load.file) + 2
    result: list[list[Test]] = []
    for top in _grouped(tests, lambda test: test[start:].split("[", 1)[0].split("::", 1)[0]).values():
        families = _grouped(top, lambda test: test[start:].split("[", 1)[0])
        # A class of one method is a class, too.
        limit = grain.group if any("::" in name for name in families) else grain.family
        if weight(top, load.setups) <= limit:
            result.append(top)
            continue
        for family in families.values():
            result.extend([family] if weight(family, load.setups) <= grain.family else [[test] for test in family])
    return _clustered(result, load.setups) if load.setups.of else result


def _clustered(atoms: Sequence[list[Test]], setups: Setups) -> list[list[Test]]:
    """Atoms that need the same fixtures, joined as long as they take less time than these. Their order is by need."""
    groups: dict[tuple[str, ...], list[list[Test]]] = {}
    for atom in atoms:
        groups.setdefault(tuple(sorted(setups.apart(atom))), []).append(atom)
    result: list[list[Test]] = []
    for needs, group in sorted(groups.items()):
        costly, held = setups.cost(needs), inf
        for atom in group:
            own = weight(atom)
            if needs and held + own <= costly:
                result[-1].extend(atom)
                held += own
            else:
                result.append([*atom])
                held = own
    return result


def _costs(atoms: Sequence[list[Test]], setups: Setups) -> list[float]:
    """Seconds of each, with the fixtures that the one before it does not need already."""
    needs = [setups.apart(atom) for atom in atoms]
    return [
        weight(atom) + setups.cost(mine - before)
        for atom, mine, before in zip(atoms, needs, [set(), *needs], strict=False)
    ]


def _chunks(atoms: Sequence[list[Test]], costs: Sequence[float], limit: float) -> list[list[Test]]:
    """Neighbouring atoms joined to chunks of about equal cost, over `limit` by half an atom at most."""
    total = fsum(costs)
    share = total / ceil(total / limit) if total > limit > 0 else total
    result: list[list[Test]] = []
    end = 0.0
    done = 0.0
    for atom, seconds in zip(atoms, costs, strict=True):
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


def weight(tests: Sequence[Test], setups: Setups | None = None) -> float:
    """Seconds of the tests, with those fixtures that others of the file do not need."""
    return fsum(estimate.seconds for _, estimate in tests) + (setups.cost(setups.apart(tests)) if setups else 0.0)


def _unit(load: Load, tests: Sequence[Test]) -> Unit:
    return Unit(weight(tests), (Part(load.file, tuple(test for test, _ in tests)),), load.needs(tests))
