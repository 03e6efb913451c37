"""`thebes github`: what the workflows' steps call. Every option can come from the environment, as actions give it."""

import os
from importlib import import_module

import click

from thebes.cli.group import lazy

COMMANDS = {
    "python": "Tell the Python of the tests' environment.",
    "environment": "Tell what the environment is made from, and its key in the cache.",
    "install": "Make the environment of the tests.",
    "plan": "Plan for the event at hand; outputs the matrices.",
    "task": "Run one task with the log kept inert.",
    "decide": "Merge, judge and report what the jobs left.",
    "background": "Run the long suites again and again, until a budget of time is spent.",
    "comment": "Tell the verdict of another workflow run on its pull request.",
    "label": "Label a pull request by the files that it changes.",
}


def _load(name: str) -> object:
    module = "environment" if name in {"python", "install"} else name
    return getattr(import_module(f".{module}", __name__), name)


@click.group("github", cls=lazy(COMMANDS, _load), epilog="docs/github.md tells how the workflows use these.")
def command() -> None:
    """Steps of the workflows, in a job of GitHub Actions. They work without one, too."""


def variables() -> dict[str, str]:
    """The environment at hand; a variable that an action gives as an empty text is not set."""
    return {name: value for name, value in os.environ.items() if value}
