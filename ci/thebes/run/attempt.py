"""How a task is to be run here, and where it leaves what."""

from collections.abc import Mapping
from pathlib import Path

from thebes.interpreter import Interpreter
from thebes.model import Value
from thebes.services import Service

from .shard import Isolation
from .watcher import Limits

RECORD = "record.jsonl"
OUTPUT = "output.log"
COVERAGE = ".coverage"
RESULTS = "results"  # where a task's own tools may leave theirs


class Attempt(Value, frozen=True, kw_only=True):
    """How a task is to be run here. `repository` and `folder` are absolute; `folder` is the attempt's own.

    `workers`: number of xdist workers, None for what the project itself says; `workers_chosen`: by us.
    `maxfail`: None for no limit of ours. `foreground`: pytest has our terminal, and nothing in it is ended.
    `sampler`: the command that draws a flame graph of a process, without the process and the file.
    `services`: those that a suite may name.
    `leaks`: "report" what tests leave behind, or let them "fail".
    `waited`: seconds since the job began.
    """

    repository: Path
    folder: Path
    number: int
    interpreter: Interpreter
    environment: Mapping[str, str]
    commit: str
    workers: int | None = None
    workers_chosen: bool = False
    maxfail: int | None = None
    limit: float
    limits: Limits = Limits()
    isolate: Isolation | None = None
    measure_memory: bool = False
    leaks: str | None = None
    foreground: bool = False
    sampler: tuple[str, ...] = ()
    waited: float = 0.0
    arguments: tuple[str, ...] = ()
    services: Mapping[str, Service] = {}


def attempt_folder(out: Path, task: str, number: int) -> Path:
    """Where an attempt of a task leaves its record; also the name of its artifact."""
    return out / f"thebes-{task}-a{number}"


def free_attempt(out: Path, task: str) -> int:
    """The first attempt that has no folder yet."""
    number = 1
    while attempt_folder(out, task, number).exists():
        number += 1
    return number
