"""What `thebes run` does once the tasks have ended."""

import shutil
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click

from thebes.codec import encode
from thebes.judge import Policy
from thebes.merge import Beside, merge, open_run
from thebes.model import Plan, Verdict
from thebes.publish import terminal, time_lines
from thebes.repository import changed_lines
from thebes.run import Attempt
from thebes.run.flame import WORDS, last_words

from .judge import judge_folder
from .past import remember
from .publish import publish_all
from .text import clean, lasting, say
from .workspace import Workspace


class Shown(NamedTuple):
    """What is made of a run's end."""

    as_json: bool
    times: bool


def conclude(
    workspace: Workspace,
    plan: Plan,
    folder: Path,
    history_url: str | None,
    held: Policy,
    base: str | None,
    shown: Shown,
) -> Verdict:
    """Merge, judge, remember, report."""
    changed = changed_lines(workspace.root, base) if base else None
    merge([folder], plan, folder, repository=workspace.root, pythons=workspace.pythons(), beside=Beside(changed))
    verdict = judge_folder(folder, held)
    db = open_run(folder)
    try:
        if not plan.collect:
            remember(workspace, db, verdict.verdict, history_url)
        publish_all(db, verdict, folder)
        width = shutil.get_terminal_size((100, 24)).columns
        if shown.times:
            click.echo("\n".join(time_lines(db, width)), err=shown.as_json)
        if shown.as_json:
            click.echo(encode(verdict), nl=False)
        else:
            click.echo(terminal(verdict, db, color=sys.stdout.isatty(), width=width))
    finally:
        db.close()
    return verdict


def tell_flames(attempts: Iterable[Attempt]) -> None:
    """Where the graphs are, or why there is none."""
    for attempt in attempts:
        graphs = sorted(attempt.folder.glob("flame*.svg"))
        for graph in graphs:
            say(f"flame graph: {graph}")
        if not attempt.sampler:
            say("thebes: no flame graph: py-spy is neither on PATH nor beside the tests' Python; pip install py-spy")
            return
        if not graphs and (attempt.folder / WORDS).exists():
            say(f"thebes: no flame graph: py-spy: {clean(last_words(attempt.folder))}")


def tell_makespan(folder: Path) -> None:
    """The longest shard, beside what the longest was estimated to take."""
    with closing(open_run(folder)) as db:
        took, expected = db.execute(
            "SELECT max(a.seconds), max(t.estimate) FROM task t"
            " JOIN task_attempt a ON a.task = t.id AND a.attempt = t.attempt WHERE t.kind = 'pytest'"
        ).fetchone()
    if took:
        say(f"longest shard: {lasting(took)}, estimated {lasting(expected)}")
