"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from thebes.config.values import limit, python, seconds, size_limit, workers
from thebes.model import GATES
from thebes.plugin.thebes_plugin.split import SPEEDS

F = Callable[..., Any]


def path(*, exists: bool = False, folder: bool = False) -> click.Path:
    return click.Path(exists=exists, dir_okay=folder or not exists, file_okay=not folder, path_type=Path)


def _seconds(_context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    return None if value is None else seconds(value, f"--{parameter.name}".replace("_", "-"))


def _limit(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        limit(value, f"--{parameter.name}".replace("_", "-"))
    return value


def _size(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        size_limit(value, f"--{parameter.name}".replace("_", "-"))
    return value


def _workers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else workers(value, "--workers")


def _pythons(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(python(text, "--python") for text in value)


gates = click.option(
    "--gate",
    "gates",
    multiple=True,
    type=click.Choice(GATES),
    help="Only this gate; may be given several times.",
)
shards = click.option("--shards", type=click.IntRange(1, 256), metavar="N", help="Shards for each suite.")
target = click.option(
    "--target",
    callback=_seconds,
    metavar="TIME",
    help="Wished wall time, as in 90s or 2m; the number of shards follows.",
)
durations = click.option(
    "--durations",
    "durations",
    multiple=True,
    type=path(exists=True),
    metavar="FILE",
    help="Durations in pytest-split's format instead of the history; several: oldest first.",
)
history = click.option(
    "--history", "history_url", metavar="URL", help="History: a file or a database URL [.thebes/history.db]."
)
interpreter = click.option("--interpreter", metavar="PATH", help="The Python that runs the tests.")
worker_count = click.option(
    "--workers",
    callback=_workers,
    metavar="N|auto",
    help="xdist workers in each shard; 0 for none [the project's own].",
)
changed_base = click.option(
    "--base", metavar="REF", help="The commit that a change is compared with, for the coverage of its lines."
)
task_limit = click.option(
    "--task-limit", callback=_limit, metavar="TIME", help="End a task after this time; none: never [2h]."
)
test_limit = click.option(
    "--test-limit",
    metavar="TIME",
    callback=_limit,
    help="End a test after this time and go on with the rest; none: no limit [the configuration's, else none].",
)
default_test_limit = click.option(
    "--default-test-limit",
    metavar="TIME",
    callback=_limit,
    help="The same for tests that have no limit by a marker, an option, the configuration or pytest-timeout.",
)
measure_memory = click.option("--measure-memory", is_flag=True, help="Tell the peak of memory of each test.")
modules = click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    help="Only this test file, folder or dotted module; may be given several times.",
)
speeds = click.option(
    "--speed",
    "speeds",
    multiple=True,
    type=click.Choice(SPEEDS),
    help="Only tests that took so long in past runs; may be given several times.",
)
failed = click.option("--failed", is_flag=True, help="Only tests that failed when they last ran.")
memory_limit = click.option(
    "--memory-limit",
    metavar="SIZE",
    callback=_size,
    help="End a test whose process and its children use more than this, as in 1GiB; none: no limit.",
)
isolate = click.option(
    "--isolate",
    type=click.Choice(["module", "test"]),
    help="Give each test file, or each test, a process of its own.",
)
leaks = click.option(
    "--leaks",
    type=click.Choice(["none", "report", "fail"]),
    help="Report what tests leave behind (threads, tasks, processes, open files …), or fail them.",
)
base = click.option("--base", metavar="REF", help="The commit whose policy a change is held against.")
pythons = click.option(
    "--python",
    "pythons",
    multiple=True,
    callback=_pythons,
    metavar="X.Y",
    help="For this Python; may be given several times.",
)
coverage = click.option("--coverage", is_flag=True, help="Measure coverage in every gate; needs pytest-cov.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
plan_file = click.option(
    "--plan", "plan_path", required=True, type=path(exists=True), metavar="FILE", help="The plan, plan.json."
)
