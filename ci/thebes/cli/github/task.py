"""`thebes github task`."""

import os
import sys
from pathlib import Path

import click

from thebes.cli import options as common
from thebes.cli.task import command as run
from thebes.errors import InputError
from thebes.github.runner import dotenv, inert, masks, without_command_files

from . import options, variables

ENV_FILE = "THEBES_ENV_FILE"


@click.command("task")
@click.argument("task_id", metavar="ID", envvar="THEBES_TASK")
@options.plan_file
@click.option("--out", envvar="THEBES_OUT", required=True, type=common.path(), metavar="DIR", help="As of thebes task.")
@click.option("--minutes", envvar="THEBES_MINUTES", type=click.IntRange(1, 345), help="End the task after this time.")
@click.pass_context
def task(context: click.Context, task_id: str, plan_path: Path, out: Path, minutes: int | None) -> int:
    """Run task ID as `thebes task` does, with what it prints kept from being a command to the runner.

    The variables of a dotenv text in THEBES_ENV_FILE are set for the task alone, and hidden in the log.
    """
    if not plan_path.is_file():
        raise InputError(f"{plan_path}: no plan here; was its artifact downloaded?")
    secret = dotenv(os.environ.pop(ENV_FILE, ""), "env-file")
    for line in masks(secret):
        click.echo(line)
    kept = without_command_files(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(secret)
    with inert(_write):
        return int(
            context.invoke(
                run,
                task_id=task_id,
                plan_path=plan_path,
                out=out,
                attempt=int(variables().get("GITHUB_RUN_ATTEMPT", "1")),
                interpreter=None,
                workers=None,
                task_limit=f"{minutes}m" if minutes else None,
                arguments=(),
            )
        )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
