"""`thebes github label`."""

from pathlib import Path

import click

from thebes.cli.text import clean, say
from thebes.config import load
from thebes.errors import InputError
from thebes.github.event import read_document
from thebes.github.labels import apply, changed, moves, present
from thebes.github.rest import Rest

from . import variables


@click.command("label")
def label() -> None:
    """Label the pull request of the event by the files that it changes, as `tool.thebes.labels` says here.

    Here is to be a commit that the change can't alter, as of the default branch.
    """
    environment = variables()
    pull = read_document(environment).get("pull_request")
    number = pull.get("number") if isinstance(pull, dict) else None
    if not isinstance(number, int):
        raise InputError(f"GITHUB_EVENT_PATH {environment.get('GITHUB_EVENT_PATH', '')}: no pull request in the event")
    configured = load(Path.cwd()).labels
    if not configured:
        raise InputError("pyproject.toml: tool.thebes.labels: nothing configured; docs/github.md shows how")
    rest = Rest(environment)
    wanted = moves(configured, changed(rest, number), present(rest, number))
    apply(rest, number, wanted)
    told = [f"{sign}{name}" for sign, names in (("+", wanted.add), ("-", wanted.remove)) for name in names]
    say(f"thebes: labels of {number}: {clean(', '.join(told)) or 'as they should be'}")
