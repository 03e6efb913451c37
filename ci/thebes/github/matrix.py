"""A plan's tasks as matrices. GitHub takes 256 jobs for each; whatever is more becomes a second one, or is refused."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thebes.errors import InputError, hint
from thebes.model import GATES, Plan, Task

MOST = 256  # jobs of a matrix
WAVES = 4
JOBS = (*(f"wave-{number}" for number in range(1, WAVES + 1)), "overflow")
Labels = str | list[str]


class Runners(NamedTuple):
    """Labels of the runners: for most tasks, for the gates that have their own, and for tasks that were made for a
    machine of a certain speed."""

    usual: Labels
    by_gate: Mapping[str, Labels]
    by_speed: Mapping[float, Labels] = {}

    def of(self, gate: str, speed: float = 1.0) -> Labels:
        """InputError where a task is for a machine of another speed than the usual, and nobody says which these are."""
        if speed == 1.0:
            return self.by_gate.get(gate, self.by_speed.get(speed, self.usual))
        if speed not in self.by_speed:
            raise InputError(
                f"speed-runners: no label for machines of speed {speed:g}, which plan.runner-speeds asks for"
            )
        return self.by_speed[speed]

    def all(self) -> set[str]:
        found = [self.usual, *self.by_gate.values(), *self.by_speed.values()]
        return {label for labels in found for label in ([labels] if isinstance(labels, str) else labels)}


def runners(usual: str, by_gate: str, by_speed: str = "") -> Runners:
    """Runners as the inputs `runner`, `gate-runners` and `speed-runners` give them. InputError tells which is wrong."""
    one = _labels(_json(usual, "runner") if usual.startswith("[") else usual, "runner")
    gates = _table(by_gate, "gate-runners", "gate")
    for gate in gates:
        if gate not in GATES:
            raise InputError(f"gate-runners: no gate {gate!r}; {hint(gate, GATES)}")
    speeds = _table(by_speed, "speed-runners", "speed")
    return Runners(one, gates, {_speed(text): labels for text, labels in speeds.items()})


def _table(text: str, name: str, what: str) -> dict[str, Labels]:
    """An input that is an object, of labels by `what`; empty where it is not given."""
    table = _json(text, name) if text.strip() else {}
    if not isinstance(table, dict):
        raise InputError(f"{name}: expected an object, {what} to label, found {text!r}")
    return {key: _labels(labels, f"{name}.{key}") for key, labels in table.items()}


def _speed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"speed-runners: {text!r} is no speed; expected numbers as in runner-speeds") from None


def _json(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: {text!r} is not JSON: {error}") from None


def _labels(value: object, where: str) -> Labels:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
        return value
    raise InputError(f"{where}: expected a label or a list of labels, found {value!r}")


def jobs_of(plan: Plan, *, waves: bool) -> dict[str, list[Task]]:
    """The tasks of each matrix, by its job: four that may wait for one another, and a last one for what the first
    can't hold.

    Without `waves` everything is in the first and the last, which start at once. InputError: too many tasks.
    """
    found: list[list[Task]] = [[] for _ in range(WAVES + 1)]
    for task in plan.tasks:
        found[task.wave - 1 if waves else 0].append(task)
    found[WAVES] = found[0][MOST:]
    found[0] = found[0][:MOST]
    _refuse(found)
    return dict(zip(JOBS, found, strict=True))


def _refuse(found: Sequence[Sequence[object]]) -> None:
    for number, entries in enumerate(found, 1):
        if len(entries) > MOST:
            name = "more than two matrices" if number > WAVES else f"wave {number}"
            raise InputError(f"{name}: {len(entries)} tasks, a matrix takes {MOST}; lower max-shards or max-tasks")


def outputs(plan: Plan, labels: Runners, *, waves: bool) -> dict[str, str]:
    """The matrices as a job's outputs; an empty text for a matrix without a job, which GitHub would refuse."""
    suites = {suite.id: suite for suite in plan.suites}

    def entry(task: Task) -> dict[str, object]:
        suite = suites[task.suite]
        runner = labels.of(suite.gate, task.speed)
        return {"task": task.id, "gate": suite.gate, "python": suite.python, "runner": runner}

    return {
        job: json.dumps({"include": [entry(task) for task in tasks]}, separators=(",", ":")) if tasks else ""
        for job, tasks in jobs_of(plan, waves=waves).items()
    }
