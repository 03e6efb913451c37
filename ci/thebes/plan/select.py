"""The part of a project that was asked for: by file, by how long tests take, by how they ended last. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from thebes.config import speed_limits
from thebes.errors import NothingSelectedError, nearest
from thebes.model import Speeds
from thebes.plugin.thebes_plugin.split import SPEEDS, markers_of_speeds

from .estimate import FileEstimates, estimate
from .groups import without_groups
from .inputs import Choice, ProjectInput

WORD = re.compile(r"[^\W\d]\w*")


def speeds_of(estimates: FileEstimates, limits: tuple[float, float], declared: Collection[str]) -> Speeds:
    """The class of each test that past runs know. `limits`: where medium and slow begin; `declared`: the project's
    own markers."""
    medium, slow = limits
    names = markers_of_speeds(declared)
    known = [(test, each.seconds) for tests in estimates.tests.values() for test, each in tests]
    return Speeds(
        names=(names[0], names[1], names[2]),
        medium=tuple(sorted(test for test, seconds in known if medium <= seconds < slow)),
        slow=tuple(sorted(test for test, seconds in known if seconds >= slow)),
    )


def names_any(expressions: Iterable[str | None], names: Collection[str]) -> bool:
    """Does a marker expression mention one of the names?"""
    return any(word in names for each in expressions if each for word in WORD.findall(each))


def joined(*expressions: str | None) -> str | None:
    """Marker expressions that must all hold."""
    given = [each for each in expressions if each]
    return " and ".join(f"({each})" for each in given) if len(given) > 1 else given[0] if given else None


def matching(module: str, files: Iterable[str]) -> list[str]:
    """The paths of test files that `module` names: a file, a folder, or else a dotted module or package, whose
    beginning may be left out (`queue.test_put` is any `…/queue/test_put.py`)."""
    path = PurePosixPath(module).as_posix()
    found = [file for file in files if path in {".", file} or file.startswith(path + "/")]
    if found or "/" in module:
        return found
    dotted = f"/{module.replace('.', '/')}/"
    return [file for file in files if dotted in f"/{PurePosixPath(file).with_suffix('')}/"]


def refuse_unmatched(modules: Iterable[str], files: Sequence[str], existing: Collection[str]) -> None:
    """`files`: paths of all test files, in the repository; `existing`: those of `modules` that are there."""
    for module in modules:
        if matching(module, files):
            continue
        if module in existing:
            raise NothingSelectedError(
                f"--module {module}: pytest collects no test file there; its configuration says where it looks"
            )
        folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents} - {"."}
        near = nearest(module, [*files, *sorted(folders), *(_dotted(file) for file in files)])
        meant = f"; {near}" if near else ""
        raise NothingSelectedError(f"--module {module}: no test file or folder of that name{meant}")


def _dotted(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix().replace("/", ".")


def of_speeds(wanted: Collection[str], speeds: Speeds, files: Iterable[str]) -> set[str]:
    """Files that may have tests of these classes. What past runs do not know counts as fast, so any file may have
    tests that are."""
    if SPEEDS[0] in wanted:
        return set(files)
    known = [*(speeds.medium if SPEEDS[1] in wanted else ()), *(speeds.slow if SPEEDS[2] in wanted else ())]
    return {test.partition("::")[0] for test in known}.intersection(files)


def of_failed(failed: Iterable[str], files: Collection[str]) -> tuple[str, ...]:
    """Tests and files that failed, where the files still exist."""
    return tuple(sorted(one for one in failed if one.partition("::")[0] in files))


def still_failing(runs: Iterable[tuple[Collection[str], Collection[str], Collection[str]]]) -> frozenset[str]:
    """Tests, and files that could not be collected, that failed when they last ran.

    `runs`, oldest first: files that ran; their tests that did not come to an end or were not asked for; what failed.
    """
    failed: set[str] = set()
    for files, left_out, red in runs:
        failed = {one for one in failed if one.partition("::")[0] not in files or one in left_out}
        failed |= {*red}
    return frozenset(failed)


class Selection:
    """The part of one project that was asked for. `known`: what past runs know; `files`: keys of the files that are
    meant, None for all; `only`: tests, and keys of files, that alone are run, None for all."""

    def __init__(self, project: ProjectInput, choice: Choice) -> None:
        self.limits = speed_limits(project.config)
        self._declared = project.discovery.options.markers
        self._wanted = choice.speeds
        runs, self.groups = without_groups(project.runs)
        files = {_in_repository(project.path, file.path): file.key for file in project.discovery.files}
        # A gate that only a marker tells apart may have files that the plain run's arguments leave out.
        keys = {*files.values(), *(file.key for found in project.marked.values() for file in found.files)}
        self._empty = project.empty
        self.known = estimate(runs, files=keys, left_out=project.left_out)
        self.only = of_failed(project.failed, keys) if choice.failed else None
        self.files = self._meant(choice, files) if choice.narrowing else None

    def _meant(self, choice: Choice, files: Mapping[str, str]) -> frozenset[str]:
        meant = set(files.values())
        if choice.modules:
            meant = {files[path] for module in choice.modules for path in matching(module, files)}
        if choice.speeds:
            meant &= of_speeds(choice.speeds, self.classes, meant)
        if self.only is not None:
            meant &= {test.partition("::")[0] for test in self.only}
        return frozenset(meant)

    @cached_property
    def classes(self) -> Speeds:
        return speeds_of(self.known, self.limits, self._declared)

    @cached_property
    def _class_of(self) -> dict[str, str]:
        """Without the fast ones."""
        return dict.fromkeys(self.classes.medium, SPEEDS[1]) | dict.fromkeys(self.classes.slow, SPEEDS[2])

    def has(self, file: str) -> bool:
        return self.files is None or file in self.files

    def marker(self, gate: str | None) -> str | None:
        """What a gate's own marker expression becomes."""
        names = dict(zip(SPEEDS, self.classes.names, strict=True)) if self._wanted else {}
        return joined(gate, " or ".join(names[speed] for speed in self._wanted))

    def speeds(self, markers: Iterable[str | None]) -> Speeds | None:
        """The classes, if a marker expression mentions one of them."""
        return self.classes if names_any(markers, markers_of_speeds(self._declared)) else None

    def estimates(self, files: Iterable[str]) -> FileEstimates:
        """Of the tests that will be run, as far as is known before."""
        known = {file: self.known.tests[file] for file in files if file in self.known.tests}
        if self._wanted or self.only is not None:
            known = {file: tuple(each for each in tests if self._runs(each[0])) for file, tests in known.items()}
        return FileEstimates(known, self._empty)

    def _runs(self, test: str) -> bool:
        if self.only is not None and not {test, test.partition("::")[0]}.intersection(self.only):
            return False
        return not self._wanted or self._class_of.get(test, SPEEDS[0]) in self._wanted


def _in_repository(project: str, path: str) -> str:
    return path if project == "." else f"{project}/{path}"


def paths(project: ProjectInput) -> list[str]:
    """Those of the test files, in the repository."""
    return [_in_repository(project.path, file.path) for file in project.discovery.files]


def refuse_nothing(choice: Choice, gates: Collection[str], selections: Sequence[Selection]) -> None:
    """NothingSelectedError where what was asked for leaves nothing, or nothing of a gate that was named. `gates`: those
    that have something to run."""
    asked = " ".join(choice.narrowing or ("--collect",) * choice.collect)
    if choice.narrowing and not any(selection.files for selection in selections):
        raise NothingSelectedError(f"{asked}: {_why_nothing(choice, selections)}")
    skipped = {skip.gate for skip in choice.skips}
    for gate in choice.gates:
        if gate not in gates and gate not in skipped:
            why = "the gate has no such test" if asked else "nothing is configured or found for it"
            raise NothingSelectedError(f"{asked} --gate {gate}: {why}".strip())


def _why_nothing(choice: Choice, selections: Sequence[Selection]) -> str:
    """Each of the options may select something, and all together nothing."""
    known = sum(len(tests) for selection in selections for tests in selection.known.tests.values())
    if not known and not any(selection.only for selection in selections):
        return "no past run is known; `thebes run` makes one"
    if choice.failed:
        among = " of these" if len(choice.narrowing) > 1 else ""
        return f"nothing to do: no test{among} failed when it last ran"
    medium, slow = selections[0].limits
    bounds = dict(zip(SPEEDS, (f"below {medium:g} s", f"from {medium:g} s", f"from {slow:g} s"), strict=True))
    wished = ", ".join(f"{speed} is {bounds[speed]}" for speed in choice.speeds)
    return f"none of the {known:,} tests that past runs know ({wished})"
