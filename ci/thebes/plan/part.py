"""The part of a plan that belongs to one project. Pure."""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import PurePosixPath

from thebes.config import GateConfig
from thebes.config.values import seconds
from thebes.errors import InputError
from thebes.model import DEFAULT_GATE, GATES, WAVES, Project, Suite, Task, TaskKind
from thebes.plugin.thebes_plugin.split import gate_of

from .checks import expanded, parsed, refuse_lossy
from .groups import CLASS, MARKER, matches
from .inputs import Choice, ProjectInput
from .pack import Setups, loads_of
from .packed import Packed, Wish, packed
from .select import Selection
from .units import Load
from .variants import Variant, variants

TEST_FOLDERS = ("tests", "test")
JOB_START = 15.0  # seconds that a job takes before it comes to its task, where nothing was measured
DEFAULT_OVERHEAD = 0.02  # seconds to import a file and set up for it, where nothing was measured


class Part:
    """The part of the plan that belongs to one project."""

    def __init__(self, project: ProjectInput, slug: str, choice: Choice) -> None:
        self.input = project
        self.config = project.config
        self.slug = slug
        self.choice = choice
        self.claims = _claims(project)
        self.setups = _setups(project)
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
            groups = {**self.input.groups, **self.selection.groups}
            hedge = len(self.input.runs) > 1
            self.packs[gate] = packed(
                self._loads(rest), wish, self.config.plan, groups, hedge=hedge, whole=self.input.unstable
            )
        if alone:
            self.alone[gate] = packed(self._loads(alone), Wish(shards=1, start=self.input.start))

    def fewer(self, gate: str, shards: int) -> None:
        """Share the files of a gate out anew: as many shards as it has now would be too many tasks in all."""
        asked = self.packs[gate].asked
        self.pack(gate, self.wish()._replace(shards=shards))
        self.packs[gate] = self.packs[gate]._replace(asked=asked._replace(limit="max-tasks"))

    def _loads(self, files: Sequence[str]) -> list[Load]:
        """What each file is expected to take, and what it costs once more in every further shard."""
        measured = self.input.overheads
        usual = sorted(measured.values())[len(measured) // 2] if measured else DEFAULT_OVERHEAD
        overheads = {file: measured.get(file, usual) for file in files}
        return loads_of(self.selection.estimates(files), files, overheads, self.setups)

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
            grouped=bool(given.groups or self.selection.groups),
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
            measured = self._measured(settings)
            for variant in self.variants(gate)[: 1 if only_checks else None]:
                name = self._suite(gate, variant)
                yield Suite(
                    id=name,
                    project=self.input.path,
                    gate=gate,
                    python=variant.python,
                    services=variant.services,
                    marker=self.selection.marker(settings.marker),
                    coverage=measured,
                    core=self.input.cores.get(name, "") if measured or self.input.discovery.options.coverage else "",
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
        speeds = () if asked.alike else config.plan.runner_speeds
        if speeds and shards and shards > len(speeds):
            raise InputError(
                f"tool.thebes.plan.runner-speeds: {len(speeds)} speeds for {shards} shards; one is for each"
            )
        return Wish(
            shards=shards,
            target=target,
            job_start=self._job_start(),
            start=self.input.start,
            most=config.max_shards,
            speeds=speeds,
        )

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
            for row in zip(found.estimates, found.speeds, found.shards, strict=True)
        ]
        for index, (alone, takes, speed, pieces) in enumerate(rows, 1):
            yield Task(
                id=f"{suite}-{index}of{number}",
                suite=suite,
                kind=TaskKind.PYTEST,
                wave=WAVES[gate],
                estimate=round(takes, 3),
                index=index,
                of=number,
                pieces=pieces,
                alone=alone,
                speed=speed,
            )

    def _check_tasks(self, gate: str, suite: str, checks: Sequence[str]) -> Iterable[Task]:
        commands = [parsed(check, gate) for check in expanded(gate, checks)]
        for command in commands:
            refuse_lossy(command, gate, parallel=self.input.discovery.options.workers is not None)
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


def _both(*packs: Packed | None) -> list[Packed]:
    return [found for found in packs if found is not None]


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


def _setups(project: ProjectInput) -> dict[str, Setups]:
    """Costly fixtures by file."""
    seconds: dict[str, dict[str, float]] = {}
    common: dict[str, set[str]] = {}
    single: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, fixture in sorted(project.shared.items()):
        for file, tests in fixture.users.items():
            seconds.setdefault(file, {})[name] = fixture.seconds
            if tests is None:
                common.setdefault(file, set()).add(name)
            of = single.setdefault(file, {})
            for test in tests or ():
                of[f"{file}::{test}"] = (*of.get(f"{file}::{test}", ()), name)
    return {file: Setups(seconds[file], frozenset(common.get(file, ())), single[file]) for file in seconds}


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
