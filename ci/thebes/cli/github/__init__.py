"""`thebes github`: what the workflows' steps call. Every option can come from the environment, as actions give it."""

import os
from importlib import import_module

import click

COMMANDS = {
    "python": "Tell the Python of the tests' environment.",
    "environment": "Tell what the environment is made from, and its key in the cache.",
    "install": "Make the environment of the tests.",
    "plan": "Plan for the event at hand; outputs the matrices.",
    "task": "Run one task with the log kept inert.",
    "decide": "Merge, judge and report what the jobs left.",
    "comment": "Tell the verdict of another workflow run on its pull request.",
}


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = "environment" if cmd_name in {"python", "install"} else cmd_name
        command = getattr(import_module(f".{module}", __name__), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  (for the type checker)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group("github", cls=Commands, epilog="docs/github.md tells how the workflows use these.")
def command() -> None:
    """Steps of the workflows, in a job of GitHub Actions. They work without one, too."""


def variables() -> dict[str, str]:
    """The environment at hand; a variable that an action gives as an empty text is not set."""
    return {name: value for name, value in os.environ.items() if value}
