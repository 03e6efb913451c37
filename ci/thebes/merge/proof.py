"""The proof of completeness: the plan held against what the records say. Pure.

Every selected test ended exactly once, in the shard that the plan and the hash give it to; anything else is a
problem with a name.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from thebes.model import Closing, Collected, Crash, Finish, Plan, Task, TaskKind

from .records import RED, Facts

# Notes that say more of a check than its exit code does.
EXPLAINED = frozenset({"not-started", "check-findings", "check-broken"})
# Why a stop leaves tests cancelled (known not to have run, and why) and not missing.
DELIBERATE = ("maxfail", "fail-fast")
# Notes that say why nothing was collected.
UNSTARTED = frozenset({"shard-refused", "service-missing", "service-failed"})
PYTEST_EXITS = {2: "pytest-interrupted", 3: "pytest-internal-error", 4: "pytest-usage-error"}


# What a shard collected, by file; the ids only where the file is cut.
Files = Mapping[str, Collected | None]


class Problem(NamedTuple):
    """`subject` is the culprit's name; `text` says what about it."""

    code: str
    task: str | None
    subject: str
    text: str


class Left(NamedTuple):
    """A selected test that did not end: `outcome` is crashed, interrupted, cancelled or missing."""

    id: str
    outcome: str


class TaskProof(NamedTuple):
    """What a task's deciding record proves: tests that should have run by file, those without an end, problems."""

    selected: dict[str, list[str]]
    left: list[Left]
    problems: list[Problem]


def prove_task(task: Task, facts: Facts, *, collect: bool = False) -> TaskProof:
    """Hold one closed or broken record against its task. `collect`: nothing but collection was to be done."""
    problems = list(_closing_problems(task, facts))
    problems += [Problem(note.code, task.id, _noted(task, note.code), note.text) for note in facts.notes]
    if any(note.code in UNSTARTED for note in facts.notes):
        return TaskProof({}, [], problems)
    if task.kind != TaskKind.PYTEST:
        return TaskProof({}, [], problems + list(_check_problems(task, facts)))
    selected = _selected(facts)
    wanted = Counter(test for tests in selected.values() for test in tests)
    left = [Left(test, _fate(facts, test)) for test in wanted if not collect and _unended(facts, test)]
    problems += _pytest_problems(task, facts, wanted)
    problems += _file_problems(task, facts)
    return TaskProof(selected, left, problems)


def _noted(task: Task, code: str) -> str:
    """Whom a note is about: a server serves the whole suite."""
    if code in {"check-findings", "check-broken"}:
        return " ".join(task.command)
    if code == "service-used":
        return task.suite
    return task.command[0] if code == "not-started" and task.command else task.id


def _selected(facts: Facts) -> dict[str, list[str]]:
    """The full ids of the tests that this shard had to run, by file."""
    selected: dict[str, list[str]] = {}
    for file, line in facts.collected.items():
        ids = line.ids if line.own is None else [line.ids[i] for i in line.own if 0 <= i < len(line.ids)]
        full = (f"{file}::{test}" if test else file for test in ids)
        selected[file] = [test for test in full if test not in facts.deselected]
    return selected


def _unended(facts: Facts, test: str) -> bool:
    end = facts.ended.get(test)
    return end is None or end.rerun


def _fate(facts: Facts, test: str) -> str:
    if _deliberate(facts):
        return "cancelled"
    if test in facts.running:
        stopped = facts.closing.stopped if facts.closing else None
        return "interrupted" if stopped or facts.finish else "crashed"
    return "missing"


def _deliberate(facts: Facts) -> bool:
    """Did the task stop early because that was asked for in case of failures?"""
    if facts.closing and facts.closing.stopped:
        return facts.closing.stopped in DELIBERATE
    stopped = facts.finish.stopped if facts.finish else None
    return bool(
        stopped and stopped.startswith("stopping after") and any(e.outcome in RED for e in facts.ended.values())
    )


def _closing_problems(task: Task, facts: Facts) -> Iterable[Problem]:
    if facts.closing is None:
        last = next(reversed(facts.running), None)
        doing = f"while {last} was running" if last else "before its end"
        yield Problem("record-cut", task.id, task.id, f"the record breaks off {doing}")
    elif facts.closing.stopped and facts.closing.stopped not in DELIBERATE:
        running = _running(facts)
        text = f"stopped by {facts.closing.stopped}" + (f" while {running} was running" if running else "")
        yield Problem("task-stopped", task.id, task.id, text)
    if facts.broken:
        yield Problem("record-broken", task.id, task.id, facts.broken)


def _check_problems(task: Task, facts: Facts) -> Iterable[Problem]:
    closing = facts.closing
    if closing is None or closing.stopped or any(note.code in EXPLAINED for note in facts.notes):
        return
    name = " ".join(task.command)
    if closing.signal:
        yield Problem("check-died", task.id, name, f"ended by signal {closing.signal}")
    elif closing.exit:
        yield Problem("check-failed", task.id, name, f"exit code {closing.exit}")


def _pytest_problems(task: Task, facts: Facts, wanted: Counter[str]) -> Iterable[Problem]:
    for test, end in facts.ended.items():
        runs = _runs(facts, test)
        if not wanted[test]:
            yield Problem("test-unplanned", task.id, test, "ran in a shard that did not select it")
        elif runs != wanted[test] and not end.rerun:
            yield Problem("test-repeated", task.id, test, f"ended {runs} times, selected {wanted[test]} times")
    for crash in facts.crashes:
        if crash.worker or not crash.id:  # else the test that crashed tells it all
            code = "worker-crashed" if crash.worker else "pytest-died"
            yield Problem(code, task.id, crash.id or task.id, _crash_text(crash))
    for file in facts.disagreeing:
        yield Problem("ids-unstable", task.id, file, "two workers of one shard collected different tests")
    yield from _exit_problems(task, facts, sum(wanted.values()))


def _runs(facts: Facts, test: str) -> int:
    """Attempts that were not followed by a rerun."""
    earlier = facts.earlier.get(test, ())
    return sum(not end.rerun for end in earlier) + (not facts.ended[test].rerun)


def _crash_text(crash: Crash) -> str:
    """Who died, and the last line of what is known about it."""
    how = crash.text.strip().rpartition("\n")[2][:300]
    if not crash.worker:
        return f"the process died outside of any test: {how}"
    return f"{crash.worker} died{'' if crash.id else ' between two tests'}: {how}"


def _exit_problems(task: Task, facts: Facts, selected: int) -> Iterable[Problem]:
    """What the exit codes of pytest and of its process say that the outcomes don't."""
    closing, finish = facts.closing, facts.finish
    for one in facts.finishes:  # of sessions before the last
        if one.exit not in {0, 1, 5}:
            yield Problem(PYTEST_EXITS.get(one.exit, "exit-unexplained"), task.id, task.id, _last_words(facts))
    if closing is None or closing.stopped:
        return
    if finish is None:
        yield from _death(task, facts, closing)
        return
    if problem := _finish_problem(task, facts, finish, selected):
        yield problem
    if closing.exit != finish.exit:
        yield Problem(
            "exit-after-finish", task.id, task.id, f"pytest finished with {finish.exit}, then {_how(closing)}"
        )


def _death(task: Task, facts: Facts, closing: Closing) -> Iterable[Problem]:
    """The session never came to its end. Where it died of a test, or of something else that the record names, that
    is told already."""
    if facts.died:
        return
    if closing.exit in {3, 4}:  # pytest gave up before the session began
        yield Problem(PYTEST_EXITS[closing.exit], task.id, task.id, _last_words(facts))
        return
    running = _running(facts)
    where = f"while {running} was running" if running else "outside of any test"
    yield Problem("pytest-died", task.id, running or task.id, f"the process ended with {_how(closing)} {where}")


def _finish_problem(task: Task, facts: Facts, finish: Finish, selected: int) -> Problem | None:
    """The session came to an end that the record does not explain."""
    code, text = "exit-unexplained", None
    if finish.exit in PYTEST_EXITS:
        if finish.exit == 2 and _deliberate(facts):
            return None
        code, text = PYTEST_EXITS[finish.exit], finish.stopped or _last_words(facts)
    elif finish.exit == 5 and selected > facts.done:
        text = f"exit code 5 with {selected} tests selected"
    elif finish.exit == 1 and not _red(facts):
        text = f"exit code 1 and no test failed: {_last_words(facts)}"
    elif finish.exit not in {0, 1, 5}:
        text = f"exit code {finish.exit}: {_last_words(facts)}"
    elif finish.selected != selected - facts.done:
        named = f"{selected} and {facts.done} of them had ended before" if facts.done else str(selected)
        code, text = "selection-differs", f"pytest selected {finish.selected} tests, the record names {named}"
    return Problem(code, task.id, _running(facts) or task.id, text) if text else None


def _how(closing: Closing) -> str:
    return f"signal {closing.signal}" if closing.signal else f"exit code {closing.exit}"


def _running(facts: Facts) -> str:
    return ", ".join(list(facts.running)[:3])


def _last_words(facts: Facts) -> str:
    """The line of the output that tells most: the last that speaks of an error, else the last."""
    lines = [line.strip() for line in facts.output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"([^:]{1,40}: )?error\b|E  |INTERNALERROR>", line, re.IGNORECASE)]
    return (telling or lines or [""])[-1][:300]


def _red(facts: Facts) -> bool:
    """Does the record hold what lets pytest end with 1? Of a worker that died, xdist blames some test."""
    return (
        any(end.outcome in RED for end in facts.ended.values())
        or any(result.outcome == "failed" for result in facts.files)
        or any(crash.worker for crash in facts.crashes)
    )


def _file_problems(task: Task, facts: Facts) -> Iterable[Problem]:
    for result in facts.files:
        if result.outcome == "failed":
            yield Problem("collection-failed", task.id, result.file, result.text.strip().rpartition("\n")[2][:300])
    code, text = "file-not-collected", "in the plan, not in the record"
    if _deliberate(facts):
        code, text = "file-cancelled", "its shard was stopped after a failure, before it came to this file"
    for piece in task.pieces:
        if piece.file not in facts.collected:
            yield Problem(code, task.id, piece.file, text)


def cut_files(task: Task, facts: Facts) -> Files:
    """What holding the shards of a suite against each other needs of one: ids only of files that are cut."""
    cut = {piece.file for piece in task.pieces if piece.tests is not None}
    failed = {result.file for result in facts.files if result.outcome == "failed"}  # there is nothing to compare
    return {file: line if file in cut else None for file, line in facts.collected.items() if file not in cut & failed}


def prove_suite(plan: Plan, suite: str, collected: Mapping[str, Files]) -> Iterable[Problem]:
    """Hold the shards of one suite against each other: the holders of a cut file, files that nobody planned.

    `collected`: by task, for those that have a record.
    """
    tasks = [task for task in plan.tasks if task.suite == suite and task.kind == TaskKind.PYTEST]
    planned = Counter(piece.file for task in tasks for piece in task.pieces)
    holders: dict[str, dict[str, Collected | None]] = {}
    for task in tasks:
        for file, line in collected.get(task.id, {}).items():
            holders.setdefault(file, {})[task.id] = line
    for file, lines in sorted(holders.items()):
        known = [line for line in lines.values() if line is not None]
        if len(known) == len(lines) > 0 and planned[file]:
            yield from _cut_problems(file, known, planned[file])
        elif len(lines) > 1:
            what = "planned for one" if planned[file] else "not in the plan"
            yield Problem("file-repeated", None, file, f"{what}, ran in {', '.join(lines)}")


def _cut_problems(file: str, lines: Sequence[Collected], holders: int) -> Iterable[Problem]:
    """`lines`: what each holder collected; `holders`: how many there should be."""
    expected = Counter(lines[0].ids)
    first = expected.keys()
    differing = sorted({test for line in lines for test in first ^ set(line.ids)})
    if differing:
        names = ", ".join(f"{file}::{test}" for test in differing[:3])
        text = f"{len(differing)} tests are not the same in all its shards ({names}); it can't be cut"
        yield Problem("ids-unstable", None, file, text)
        return
    if len(lines) < holders:
        return  # a holder's record is missing, which is named elsewhere
    owners = Counter(line.ids[i] for line in lines for i in line.own or () if 0 <= i < len(line.ids))
    for test in sorted(first):
        if owners[test] != expected[test]:
            yield Problem("test-unowned", None, f"{file}::{test}", f"{owners[test]} shards took it for theirs")
