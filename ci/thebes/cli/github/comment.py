"""`thebes github comment`."""

from pathlib import Path

import click

from thebes.cli import options as common
from thebes.cli.judge import VERDICT
from thebes.cli.text import say
from thebes.codec import read_verdict
from thebes.errors import InputError
from thebes.github.comment import markdown, pull_request, put
from thebes.github.event import read_document
from thebes.github.rest import Rest

from . import variables


@click.command("comment")
@click.argument("report", metavar="DIR", envvar="THEBES_REPORT", type=common.path(folder=True))
def comment(report: Path) -> None:
    """Write the verdict in DIR as a comment on the pull request of the workflow run in the event, or update it."""
    environment = variables()
    run = read_document(environment).get("workflow_run")
    if not isinstance(run, dict):
        raise InputError(f"GITHUB_EVENT_PATH {environment['GITHUB_EVENT_PATH']}: not the event of a workflow_run")
    rest = Rest(environment)
    verdict = read_verdict(report / VERDICT)
    number = pull_request(rest, run)
    if number is None:
        say("thebes: no open pull request has this commit as its newest; nothing to tell")
        return
    say(f"thebes: comment on {number} {put(rest, number, markdown(verdict, str(run.get('html_url'))))}")
