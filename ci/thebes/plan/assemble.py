"""The plan of a whole repository: which suites there are, and the tasks of each. Pure.

The same input gives the same plan, whatever order files and durations come in.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from math import fsum
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from thebes.checks.presets import PRESETS
from thebes.codec import digest
from thebes.config import GateConfig, seconds
from thebes.errors import InputError
from thebes.model import (
    DEFAULT_GATE,
    GATES,
    WAVES,
    Plan,
    Project,
    Skip,
    Suite,
    Task,
    TaskKind,
)
from thebes.plugin.thebes_plugin.split import gate_of

from .budget import Want, share_out
from .groups import CLASS, MARKER, matches
from .inputs import Choice, ProjectInput
from .pack import Load, loads_of
from .packed import Packed, Wish, packed
from .select import Selection, paths, refuse_nothing, refuse_unmatched
from .variants import Variant, variants

WORKERS = re.compile(r"(?:-n|--numprocesses)=?(\w*)$")
TEST_FOLDERS = ("tests", "test")
JOB_START = 15.0  # seconds that a job takes before it comes to its task, where nothing was measured
DEFAULT_OVERHEAD = 0.02  # seconds to import a file and set up for it, where nothing was measured


class Assembled(NamedTuple):
    """The plan, and how each suite that has tests was packed, by suite."""

    plan: Plan
    suites: dict[str, Packed]


def assemble(projects: Sequence[ProjectInput], choice: Choice, commit: str) -> Plan:
    """The plan. NothingSelectedError if what was asked for is nothing in any project; InputError if one job for each
    suite is too many."""
    return assembled(projects, choice, commit).plan


def assembled(projects: Sequence[ProjectInput], choice: Choice, commit: str) -> Assembled:
    """The plan, with what `explain` wants to know; errors as from `assemble`."""
    slugs = unique([project.path for project in projects])
    refuse_unmatched(choice.modules, [path for project in projects for path in paths(project)], choice.existing)
    parts = [_Part(project, slug, choice) for project, slug in zip(projects, slugs, strict=True)]
    suites = [suite for part in parts for suite in part.suites()]
    within(parts, min((project.config.max_tasks for project in projects), default=1))
    tasks = [task for part in parts for task in part.tasks()]
    refuse_nothing(choice, [suite.gate for suite in suites], [part.selection for part in parts])
    _refuse_services(parts, choice)
    plan = Plan(
        commit=commit,
        projects=tuple(part.project() for part in parts),
        suites=tuple(sorted(suites, key=lambda suite: (GATES.index(suite.gate), suite.id))),
        tasks=tuple(sorted(tasks, key=lambda task: (task.wave, task.suite, task.kind != TaskKind.PYTEST, task.index))),
        skips=tuple(_skips(parts, choice, {suite.gate for suite in suites})),
        narrowed=choice.narrowing,
        collect=choice.collect,
    )
    found = {suite: packs for part in parts for suite, packs in part.packed_suites()}
    return Assembled(msgspec.structs.replace(plan, digest=digest(plan)), found)


def _refuse_services(parts: Sequence["_Part"], choice: Choice) -> None:
    """A version of a service that no gate asks for would change nothing."""
    asked = {name for part in parts for gate in part.config.gates.values() for name in gate.services}
    for name in choice.services:
        if name not in asked:
            known = f"they ask for {', '.join(sorted(asked))}" if asked else "none asks for any"
            raise InputError(f"services: {name!r} is asked for by no gate; {known}")


def within(parts: Sequence["_Part"], most: int) -> None:
    """Fewer shards where all suites together would be more than `most` tasks: the next one always to the suite whose
    shards would be the longest."""
    packs = [(part, gate, found) for part in parts for gate, found in part.packs.items()]
    wanted = [Want(_seconds(found), len(found.shards), len(part.variants(gate))) for part, gate, found in packs]
    checks = sum(part.checks() for part in parts)
    for (part, gate, found), number in zip(packs, share_out(wanted, most - checks), strict=True):
        if number < len(found.shards):
            part.pack(gate, part.wish()._replace(shards=number))


def _seconds(found: Packed) -> float:
    return fsum(load.seconds + load.overhead for load in found.loads)


def _skips(parts: Sequence["_Part"], choice: Choice, chosen: Collection[str]) -> Iterable[Skip]:
    """One for each gate that has something to run and does not."""
    reasons = {skip.gate: skip.reason for skip in choice.skips}
    for gate in sorted({gate for part in parts for gate in part.gates()}, key=GATES.index):
        if choice.gates and gate not in choice.gates:
            yield Skip(gate=gate, reason="left out by --gate")
        elif gate in reasons:
            yield Skip(gate=gate, reason=reasons[gate])
        elif gate not in chosen:
            yield Skip(gate=gate, reason=f"left out by {' '.join(choice.narrowing) or '--collect'}")


class _Part:
    """The part of the plan that belongs to one project."""

    def __init__(self, project: ProjectInput, slug: str, choice: Choice) -> None:
        self.input = project
        self.config = project.config
        self.slug = slug
        self.choice = choice
        self.claims = _claims(project)
        self.pythons = choice.pythons or project.config.python or (project.discovery.python,)
        self.packs: dict[str, Packed] = {}
        self.alone: dict[str, Packed] = {}
        self.selection = Selection(project, choice)
        self.partial = bool(choice.narrowing or choice.collect)
        for gate in self._chosen():
            self.pack(gate, self.wish())

    def pack(self, gate: str, wish: Wish) -> None:
        """Share the files of a gate out, if it has any; those that must run alone become one more task."""
        files = self._files(gate)
        alone = [file for file in files if any(matches(file, glob) for glob in self.config.plan.serial)]
        if rest := sorted(set(files) - set(alone)):
            loads, groups = _loads(rest, self.input, self.selection)
            self.packs[gate] = packed(loads, wish, self.config.plan, groups, hedge=len(self.input.runs) > 1)
        if alone:
            self.alone[gate] = packed(_loads(alone, self.input, self.selection)[0], Wish(shards=1))

    def packed_suites(self) -> Iterable[tuple[str, Packed]]:
        for gate, found in self.packs.items():
            for variant in self.variants(gate):
                yield self._suite(gate, variant), found

    def checks(self) -> int:
        """Tasks whose number is given: checks, and what runs alone."""
        checks = sum(len(expanded(gate, self._checks(gate))) for gate in self._chosen())
        return checks + sum(len(self.variants(gate)) for gate in self.alone)

    def project(self) -> Project:
        given = self.input
        return Project(
            path=given.path,
            rootdir=given.rootdir,
            inipath=given.inipath,
            args=given.args,
            claims=self.claims,
            measured=given.discovery.options.coverage,
            fail_under=None if self.partial else given.discovery.options.fail_under,
            parallel=given.discovery.options.workers is not None,
            dist=given.discovery.options.dist,
            grouped=bool(given.groups),
            worker_memory=given.worker_memory,
            together=tuple(entry for entry in self.config.plan.together if entry == CLASS or entry.startswith(MARKER)),
            speeds=self.selection.speeds(
                [given.discovery.options.marker, *(self.selection.marker(self.settings(gate).marker) for gate in GATES)]
            ),
            only=self.selection.only,
        )

    def gates(self) -> list[str]:
        """Gates for which something is configured or found, in the order of the gates."""
        found = {gate_of(file.path, self.claims, DEFAULT_GATE) for file in self.input.discovery.files}
        return [gate for gate in GATES if gate in found or gate in self.config.gates]

    def _chosen(self) -> list[str]:
        skipped = {skip.gate for skip in self.choice.skips}
        asked = [gate for gate in self.gates() if not self.choice.gates or gate in self.choice.gates]
        return [gate for gate in asked if gate not in skipped and (not self.partial or self._files(gate))]

    def suites(self) -> Iterable[Suite]:
        for gate in self._chosen():
            settings = self.settings(gate)
            only_checks = bool(self._checks(gate)) and not self._files(gate)
            for variant in self.variants(gate)[: 1 if only_checks else None]:
                yield Suite(
                    id=self._suite(gate, variant),
                    project=self.input.path,
                    gate=gate,
                    python=variant.python,
                    services=variant.services,
                    marker=self.selection.marker(settings.marker),
                    coverage=self._measured(settings),
                )

    def _measured(self, settings: GateConfig) -> bool:
        """A threshold is for all tests of a gate; a part of them is measured only if that is asked for."""
        if self.choice.collect:
            return False
        thresholds = settings.coverage is not None or settings.changed_coverage is not None
        return self.choice.coverage or (thresholds and not self.partial)

    def tasks(self) -> Iterable[Task]:
        for gate in self._chosen():
            suites = [self._suite(gate, variant) for variant in self.variants(gate)]
            for suite in suites:
                yield from self._pytest_tasks(gate, suite)
            yield from self._check_tasks(gate, suites[0], self._checks(gate))

    def _checks(self, gate: str) -> tuple[str, ...]:
        """Checks are of the whole project: with a part of the tests they are left out."""
        return () if self.partial else self.settings(gate).checks

    def settings(self, gate: str) -> GateConfig:
        return self.config.gates.get(gate, GateConfig())

    def variants(self, gate: str) -> list[Variant]:
        return variants(self.pythons, self.settings(gate), self.choice.services)

    def _suite(self, gate: str, variant: Variant) -> str:
        return f"{self.slug}{gate}-{variant.slug}"

    def _files(self, gate: str) -> list[str]:
        if gate in self.input.marked:
            files = [file.key for file in self.input.marked[gate].files]
        else:
            found = self.input.discovery.files
            files = [file.key for file in found if gate_of(file.path, self.claims, DEFAULT_GATE) == gate]
        return sorted(file for file in files if self.selection.has(file))

    def wish(self) -> Wish:
        """How many shards: as asked, as configured, or as many as the target time wants."""
        config, asked = self.config, self.choice
        target = asked.target
        if target is None and config.target and not config.shards:
            target = seconds(config.target, "tool.thebes.target")
        shards = asked.shards or (None if asked.target else config.shards)
        speeds = config.plan.runner_speeds
        if speeds and shards and shards > len(speeds):
            raise InputError(
                f"tool.thebes.plan.runner-speeds: {len(speeds)} speeds for {shards} shards; one is for each"
            )
        return Wish(shards=shards, target=target, job_start=self._job_start(), most=config.max_shards, speeds=speeds)

    def _job_start(self) -> float:
        """Seconds until the first test: of the job as configured, else as measured, and of pytest."""
        configured = self.config.job_start
        if configured is not None:
            return seconds(configured, "tool.thebes.job-start") + self.input.start
        measured = self.input.job_start
        return (JOB_START if measured is None else measured) + self.input.start

    def _pytest_tasks(self, gate: str, suite: str) -> Iterable[Task]:
        """The shards of a suite, then the one that must be alone."""
        parts = [(found, found is self.alone.get(gate)) for found in _both(self.packs.get(gate), self.alone.get(gate))]
        number = sum(len(found.shards) for found, _ in parts)
        rows = [
            (alone, *row)
            for found, alone in parts
            for row in zip(found.expected, found.speeds, found.shards, strict=True)
        ]
        for index, (alone, expected, speed, pieces) in enumerate(rows, 1):
            yield Task(
                id=f"{suite}-{index}of{number}",
                suite=suite,
                kind=TaskKind.PYTEST,
                wave=WAVES[gate],
                estimate=round(expected + self.input.start / speed, 3),
                index=index,
                of=number,
                pieces=pieces,
                alone=alone,
                speed=speed,
            )

    def _check_tasks(self, gate: str, suite: str, checks: Sequence[str]) -> Iterable[Task]:
        commands = [_command(check, gate) for check in expanded(gate, checks)]
        for command in commands:
            _refuse_lossy(command, gate, parallel=self.input.discovery.options.workers is not None)
        names = unique([" ".join(command[:2]) for command in commands], fallback="check", end="")
        for index, (command, name) in enumerate(zip(commands, names, strict=True), 1):
            yield Task(
                id=f"{suite}-{name}",
                suite=suite,
                kind=TaskKind.CHECK,
                wave=WAVES[gate],
                estimate=0.0,
                index=index,
                of=len(commands),
                command=command,
            )


def expanded(gate: str, checks: Sequence[str]) -> list[str]:
    """The checks, with the word `default` replaced by what it stands for in this gate."""
    if "default" in checks and gate not in PRESETS:
        raise InputError(f"tool.thebes.gates.{gate}.checks: there are defaults for {', '.join(PRESETS)} only")
    return [one for check in checks for one in (PRESETS[gate] if check == "default" else (check,))]


def _both(*packs: Packed | None) -> list[Packed]:
    return [found for found in packs if found is not None]


def _command(check: str, gate: str) -> tuple[str, ...]:
    try:
        command = tuple(shlex.split(check))
    except ValueError as error:
        raise InputError(f"tool.thebes.gates.{gate}.checks: {check!r}: {error}") from None
    if not command:
        raise InputError(f"tool.thebes.gates.{gate}.checks: an empty command")
    return command


def _refuse_lossy(command: Sequence[str], gate: str, *, parallel: bool) -> None:
    """`coverage run` measures the process that it starts; with xdist, others run the tests, and nobody says so."""
    words = list(command)
    runs = any(PurePosixPath(one).name == "coverage" and two == "run" for one, two in pairwise(words))
    if not runs or not {"pytest", "py.test"} & {PurePosixPath(word).name for word in words}:
        return
    numbers = [found[1] or following for word, following in pairwise([*words, ""]) if (found := WORKERS.match(word))]
    if numbers[-1] != "0" if numbers else parallel:
        raise InputError(
            f"tool.thebes.gates.{gate}.checks: {shlex.join(command)!r} would lose what xdist's workers execute;"
            " measure with pytest-cov instead (--cov, or the gate's coverage), or start no workers (-n 0)"
        )


def _claims(project: ProjectInput) -> dict[str, tuple[str, ...]]:
    """Folders by gate: as configured, else a folder of the gate's name in a folder of tests."""
    configured = {gate: settings for gate, settings in project.config.gates.items() if settings.paths}
    claims = {
        gate: {PurePosixPath(path).as_posix() for path in settings.paths} for gate, settings in configured.items()
    }
    for file in project.discovery.files:
        parts = PurePosixPath(file.path).parts[:-1]
        for position, (parent, name) in enumerate(pairwise(parts)):
            if parent in TEST_FOLDERS and name in GATES and name not in configured:
                claims.setdefault(name, set()).add("/".join(parts[: position + 2]))
                break
    return {gate: tuple(sorted(claims[gate])) for gate in GATES if gate in claims}


def _loads(files: Sequence[str], project: ProjectInput, selection: Selection) -> tuple[list[Load], dict[str, str]]:
    """What each file is expected to take, and what it costs once more in every further shard; tests' groups."""
    measured = {project.renamed.get(file, file): took for file, took in project.overheads.items()}
    usual = sorted(measured.values())[len(measured) // 2] if measured else DEFAULT_OVERHEAD
    overheads = {file: measured.get(file, usual) for file in files}
    return loads_of(selection.estimates(files), files, overheads), {**project.groups, **selection.groups}


def unique(names: Sequence[str], *, fallback: str = "", end: str = "-") -> list[str]:
    """A slug for each name, fit for ids, file and artifact names; names that would clash get part of a hash."""
    slugs = [_slug(name) or fallback for name in names]
    return [
        (slug if slugs.count(slug) == 1 else f"{slug}-{_short_hash(f'{name}{position}')}") + (end if slug else "")
        for position, (name, slug) in enumerate(zip(names, slugs, strict=True))
    ]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", "" if name == "." else name).strip("-")[:60]


def _short_hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=3).hexdigest()
