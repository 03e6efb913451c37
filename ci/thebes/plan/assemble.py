"""The plan of a whole repository: which suites there are, and the tasks of each. Pure.

The same input gives the same plan, whatever order files and durations come in.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from thebes.codec import digest
from thebes.errors import InputError
from thebes.model import (
    GATES,
    Plan,
    Skip,
    TaskKind,
)

from .budget import Want, share_out
from .inputs import Choice, ProjectInput
from .pack import work
from .packed import Packed
from .part import Part, unique
from .select import paths, refuse_nothing, refuse_unmatched


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
    parts = [Part(project, slug, choice) for project, slug in zip(projects, slugs, strict=True)]
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


def _refuse_services(parts: Sequence[Part], choice: Choice) -> None:
    """A version of a service that no gate asks for would change nothing."""
    asked = {name for part in parts for gate in part.config.gates.values() for name in gate.services}
    for name in choice.services:
        if name not in asked:
            known = f"they ask for {', '.join(sorted(asked))}" if asked else "none asks for any"
            raise InputError(f"services: {name!r} is asked for by no gate; {known}")


def within(parts: Sequence[Part], most: int) -> None:
    """Fewer shards where all suites together would be more than `most` tasks: the next one always to the suite whose
    shards would be the longest."""
    packs = [(part, gate, found) for part in parts for gate, found in part.packs.items()]
    wanted = [Want(_seconds(found), len(found.shards), len(part.variants(gate))) for part, gate, found in packs]
    checks = sum(part.checks() for part in parts)
    for (part, gate, found), number in zip(packs, share_out(wanted, most - checks), strict=True):
        if number < len(found.shards):
            part.fewer(gate, number)


def _seconds(found: Packed) -> float:
    return work(found.loads)


def _skips(parts: Sequence[Part], choice: Choice, chosen: Collection[str]) -> Iterable[Skip]:
    """One for each gate that has something to run and does not."""
    reasons = {skip.gate: skip.reason for skip in choice.skips}
    for gate in sorted({gate for part in parts for gate in part.gates()}, key=GATES.index):
        if choice.gates and gate not in choice.gates:
            yield Skip(gate=gate, reason="left out by --gate")
        elif gate in reasons:
            yield Skip(gate=gate, reason=reasons[gate])
        elif gate not in chosen:
            yield Skip(gate=gate, reason=f"left out by {' '.join(choice.narrowing) or '--collect'}")
