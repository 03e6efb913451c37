"""A shard's command line, and the instructions for the plug-in."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from thebes.discover import PLUGIN, PLUGIN_ARGUMENTS
from thebes.model import DEFAULT_GATE, Plan, Project, Speeds, Suite, Task, TaskKind
from thebes.plugin.thebes_plugin.split import file_key

from .attempt import RECORD, Attempt


def pytest_command(
    project: Project, suite: Suite, task: Task, attempt: Attempt, instructions: Path, *, collect: bool = False
) -> list[str]:
    """The plain run's own command line, with our plug-in beside it. `collect`: the tests are not run."""
    command = [attempt.interpreter.path, str(PLUGIN), *PLUGIN_ARGUMENTS, f"--thebes-shard={instructions}"]
    if suite.coverage and not project.measured:  # a bare --cov would widen what the project's own measures
        command.append("--cov")
    workers = attempt.workers
    if (task.alone or attempt.isolate or collect) and (workers is not None or project.parallel):
        workers = 0
    if workers or (workers == 0 and project.parallel):  # else xdist, and its option, may not be there
        command += ["-n", str(workers)]
    if workers and attempt.workers_chosen and project.dist in {"no", "load"}:  # the project has no wish of its own
        command += ["--dist", "loadgroup" if project.grouped else "worksteal"]  # the latter ignores groups
    return [*command, *project.args, *attempt.arguments]


def shard_instructions(plan: Plan, project: Project, suite: Suite, task: Task, attempt: Attempt) -> dict[str, object]:
    """What the plug-in needs to know; see `Shard` there."""
    shards = [other for other in plan.tasks if other.suite == suite.id and other.kind == TaskKind.PYTEST]
    suites = {other.id for other in plan.suites if other.project == project.path}
    mine = {piece.file for piece in task.pieces}
    holders: dict[str, list[tuple[Task, Sequence[str]]]] = {}
    for shard in sorted(shards, key=lambda other: other.index):
        for piece in shard.pieces:
            if piece.tests is not None and piece.file in mine:
                holders.setdefault(piece.file, []).append((shard, piece.tests))
    return {
        "record": str(attempt.folder / RECORD),
        "project": os.path.realpath(attempt.repository / project.path),
        "rootdir": os.path.realpath(attempt.repository / project.rootdir),
        "inipath": os.path.realpath(attempt.repository / project.inipath) if project.inipath else None,
        "gate": suite.gate,
        "default_gate": DEFAULT_GATE,
        "claims": project.claims,
        "together": project.together,
        "grouped": project.grouped,
        "marker": suite.marker,
        "maxfail": attempt.maxfail,
        "test_limit": attempt.limits.test,
        "default_limit": attempt.limits.default,
        "narrowed": bool(plan.narrowed),
        "collect": plan.collect,
        "core": suite.core,
        "only": None if project.only is None else [test for test in project.only if file_key(test) in mine],
        "speeds": _speeds(project.speeds, mine),
        "memory_limit": attempt.limits.memory,
        "measure_memory": attempt.measure_memory,
        "leaks": attempt.leaks,
        "index": task.index - 1,
        "of": task.of,
        "known": sorted({piece.file for other in plan.tasks if other.suite in suites for piece in other.pieces}),
        "whole": sorted(piece.file for piece in task.pieces if piece.tests is None),
        "cut": {
            file: (
                [shard.id for shard, _ in pieces].index(task.id),
                [[_inner(test) for test in tests] for _, tests in pieces],
            )
            for file, pieces in holders.items()
        },
    }


def _speeds(speeds: Speeds | None, files: Collection[str]) -> dict[str, object] | None:
    """What of the classes concerns these files."""
    if speeds is None:
        return None
    medium, slow = ([test for test in tests if file_key(test) in files] for tests in (speeds.medium, speeds.slow))
    return {"names": speeds.names, "medium": medium, "slow": slow}


def _inner(test: str) -> str:
    return test.removeprefix(file_key(test)).removeprefix("::")
