"""Records of any number of tasks and attempts → run.db, with the proof of completeness."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from thebes.model import GATES, Header, Plan, Task

from . import records, results
from .covering import Changed, Left, Report, cover
from .proof import Files, Problem, cut_files, prove_suite, prove_task
from .records import ATTEMPT_FOLDER, Facts, Place, Sinks
from .runs import merge_runs
from .store import RUN_DB, Store, open_run

__all__ = ["RUN_DB", "Beside", "merge", "merge_runs", "open_run"]


class Beside(NamedTuple):
    """What is known beside the records. `changed`: lines that the change touched, by path in the repository, None
    where nobody asked; `given`: files of results that other tools made, each with its gate; `cancelled`: tasks that
    were not started or were stopped on purpose, because something failed elsewhere."""

    changed: Changed | None = None
    given: Sequence[tuple[str, Path]] = ()
    cancelled: Collection[str] = ()


SIGNALS = ("SIGINT", "SIGTERM")  # how a job's cancellation reaches a task


class _Found(NamedTuple):
    """Records by task and attempt, and what is wrong with the rest. A record of None: the attempt left none."""

    attempts: dict[str, dict[int, tuple[Header, Path] | None]]
    problems: list[Problem]


def merge(
    folders: Iterable[Path],
    plan: Plan,
    out: Path,
    *,
    repository: Path,
    expected: Mapping[str, int] | None = None,
    only: str | None = None,
    pythons: Mapping[str, str] | None = None,
    beside: Beside | None = None,
) -> Path:
    """Merge all records below `folders` into `out`/run.db, replacing what was there; returns its path.

    `only`: merge a single task, as the task itself does to know its exit code.
    `expected`: the newest attempt of a task that is known to have been started, where something else tells that.
    `pythons`: the user's Python by project, for combining coverage.
    The result does not depend on the order of `folders`, and a record that is there twice counts once.
    """
    out.mkdir(parents=True, exist_ok=True)
    changed, given, cancelled = beside or Beside()
    found = _sort(plan, records.find(folders), expected or {})
    gates = {suite.id: suite.gate for suite in plan.suites}
    with Store(out / RUN_DB) as store:
        store.plan(plan, GATES)
        store.problems(found.problems, None, None)
        collected: dict[str, Files] = {}
        left: dict[str, Left] = {}
        for task in plan.tasks:
            if only and task.id != only:
                continue
            attempts = found.attempts.get(task.id, {})
            cut_short = task.id in cancelled
            problems, deciding = _merge_task(store, plan, task, attempts, out, on_purpose=cut_short)
            store.problems(problems, gates[task.suite], task.suite)
            if deciding:
                collected[task.id] = cut_files(task, deciding)
                folder = _newest(found.attempts[task.id]).parent
                rootdir = deciding.session.rootdir if deciding.session else ""
                left[task.id] = Left(folder, rootdir, deciding.measuring.plugin if deciding.measuring else "")
        outside = {f"{gate}-results": gate for gate, _ in given}
        for name, gate in outside.items():
            store.outside(name, gate)
        files = [
            *_left_results(plan, left),
            *(results.Given(f"{gate}-results", f"{gate}-results", 1, path) for gate, path in given),
        ]
        for one, problem in results.read(files, store):
            store.problems([problem], (gates | outside)[one.suite], one.suite)
        for suite in plan.suites if not only else ():
            store.problems(prove_suite(plan, suite.id, collected), suite.gate, suite.id)
        if only:
            return out / RUN_DB
        reports = [
            Report(one.suite, (gates | outside)[one.suite], one.path) for one in files if results.is_coverage(one)
        ]
        cover(plan, left, out, store, repository=repository, pythons=pythons or {}, changed=changed, reports=reports)
    return out / RUN_DB


def _left_results(plan: Plan, left: Mapping[str, Left]) -> Iterable[results.Given]:
    for task in plan.tasks:
        if task.id in left:
            folder = left[task.id].folder
            match = ATTEMPT_FOLDER.fullmatch(folder.name)
            yield from results.of_task(task.suite, task.id, int(match["attempt"]) if match else 1, folder)


def _newest(attempts: Mapping[int, tuple[Header, Path] | None]) -> Path:
    """The newest record; there is one."""
    return max((number, place[1]) for number, place in attempts.items() if place)[1]


def _sort(plan: Plan, places: Sequence[Place], expected: Mapping[str, int]) -> _Found:
    """Which record is which task's which attempt; what is not of this plan is named and left out."""
    tasks = {task.id for task in plan.tasks}
    found = _Found({}, [])
    prints: dict[Path, bytes] = {}
    for place in places:
        if place.record is None:
            match = ATTEMPT_FOLDER.fullmatch(place.folder.name)
            if match and match["task"] in tasks:
                found.attempts.setdefault(match["task"], {}).setdefault(int(match["attempt"]), None)
            continue
        first = records.header(place.record)
        if problem := _foreign(plan, tasks, first, place.record):
            found.problems.append(problem)
            match = ATTEMPT_FOLDER.fullmatch(place.folder.name)
            if match and match["task"] in tasks:
                found.attempts.setdefault(match["task"], {}).setdefault(int(match["attempt"]), None)
            continue
        assert isinstance(first, Header)  # noqa: S101  (for the type checker: _foreign told the other case)
        attempts = found.attempts.setdefault(first.task, {})
        known = attempts.get(first.attempt)
        if known is None:
            attempts[first.attempt] = (first, place.record)
            continue
        for path in (known[1], place.record):
            prints.setdefault(path, records.fingerprint(path))
        if prints[known[1]] != prints[place.record]:
            text = f"two different records of attempt {first.attempt}: {known[1]} and {place.record}"
            found.problems.append(Problem("record-conflict", first.task, first.task, text))
    for task, number in expected.items():
        found.attempts.setdefault(task, {}).setdefault(number, None)
    return found


def _foreign(plan: Plan, tasks: set[str], first: Header | str, path: Path) -> Problem | None:
    name = path.parent.name
    if isinstance(first, str):
        return Problem("record-unreadable", None, name, first)
    if first.plan != plan.digest:
        return Problem("record-foreign", None, name, f"made for plan {first.plan}, this is plan {plan.digest}")
    if first.commit != plan.commit:
        return Problem("record-foreign", None, name, f"made at commit {first.commit}, the plan at {plan.commit}")
    if first.task not in tasks:
        return Problem("record-foreign", None, name, f"task {first.task} is not in the plan")
    return None


def _merge_task(
    store: Store,
    plan: Plan,
    task: Task,
    attempts: Mapping[int, tuple[Header, Path] | None],
    out: Path,
    *,
    on_purpose: bool,
) -> tuple[list[Problem], Facts | None]:
    """Write what the attempts of one task say. The newest record decides; earlier ones tell what is flaky."""
    newest_first = [(number, attempts[number]) for number in sorted(attempts, reverse=True)]
    read = [
        (records.read(place[1], place[0], _sinks(store, task, number)), place[1])
        for number, place in newest_first
        if place
    ]
    if not read:
        store.task(task, None)
        if on_purpose:
            return [Problem("task-cancelled", task.id, task.id, "something else had failed")], None
        text = f"no record of it was found; {len(task.pieces)} files" if task.pieces else "no record of it was found"
        return [Problem("record-missing", task.id, task.id, text)], None
    (facts, _), older = read[0], [one for one, _ in read[1:]]
    if on_purpose and facts.closing and facts.closing.stopped in SIGNALS:
        facts.closing = msgspec.structs.replace(facts.closing, stopped="fail-fast")
    store.task(task, facts.header.attempt)
    for one, path in read:
        store.attempt(one, _relative(path, out), decides=one is facts)
    proof = prove_task(task, facts, collect=plan.collect)
    store.files(task, facts, proof)
    if not plan.collect:
        store.tests(task, facts, proof, older)
        store.measured(task, facts)
    store.decided_phases(task.id, facts.header.attempt, {test: len(ends) + 1 for test, ends in facts.earlier.items()})
    problems = list(proof.problems)
    for number, place in newest_first:
        if place:
            break
        problems.append(Problem("attempt-without-record", task.id, task.id, f"attempt {number} left no record"))
    return problems, facts


def _relative(path: Path, out: Path) -> str:
    path, out = path.resolve(), out.resolve()
    return str(path.relative_to(out.parent)) if path.is_relative_to(out.parent) else path.name


def _sinks(store: Store, task: Task, number: int) -> Sinks:
    return Sinks(
        phase=lambda test, attempt, line: store.phase(task.suite, task.id, number, test, attempt, line),
        finding=lambda line: store.finding(task.id, line),
        sample=lambda line: store.sample(task.id, line),
        leak=lambda test, line: store.leak(task.suite, task.id, number, test, line),
    )
