"""`thebes github plan`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thebes.cli import options as common
from thebes.cli.past import cached, past_runs
from thebes.cli.plan import tell, tell_notes
from thebes.cli.text import amount, say
from thebes.cli.workspace import Workspace
from thebes.codec import encode, write_atomic
from thebes.config.values import seconds
from thebes.errors import InputError
from thebes.github.event import Event, read_event
from thebes.github.matrix import Runners, outputs, runners
from thebes.github.runner import set_outputs
from thebes.github.skips import skips
from thebes.model import Skip
from thebes.plan import Choice, assemble
from thebes.repository import changed

from . import options, variables

if TYPE_CHECKING:
    from thebes.config import Config


@click.command("plan")
@options.gates
@options.pythons
@options.services
@options.pytest_arguments
@options.coverage
@click.option("--shards", envvar="THEBES_SHARDS", type=click.IntRange(0, 256), help="Shards of each suite; 0: target.")
@click.option("--target", envvar="THEBES_TARGET", metavar="TIME", help="Wished wall time.")
@click.option("--runner", envvar="THEBES_RUNNER", default="ubuntu-24.04", help="Label, or JSON list of labels.")
@click.option("--gate-runners", envvar="THEBES_GATE_RUNNERS", default="", help="JSON: gate to label or list.")
@click.option("--speed-runners", envvar="THEBES_SPEED_RUNNERS", default="", help="JSON: speed to label or list.")
@click.option("--waves/--no-waves", envvar="THEBES_WAVES", default=False, help="One gate after the other.")
@click.option("--drafts/--no-drafts", envvar="THEBES_DRAFTS", default=True, help="Run on draft pull requests.")
@click.option("--docs-only", envvar="THEBES_DOCS_ONLY", default="", help="Globs of files that concern no gate.")
@common.history
@click.option("--out", envvar="THEBES_PLAN", required=True, type=common.path(), metavar="FILE", help="The plan.")
def plan(
    gates: tuple[str, ...],
    pythons: tuple[str, ...],
    services: dict[str, tuple[str, ...]],
    arguments: tuple[str, ...],
    coverage: float | None,
    shards: int | None,
    target: str | None,
    runner: str,
    gate_runners: str,
    speed_runners: str,
    waves: bool,  # noqa: FBT001
    drafts: bool,  # noqa: FBT001
    docs_only: str,
    history_url: str | None,
    out: Path,
) -> None:
    """Plan for the event at hand, leave out what its change does not concern, and output the matrices."""
    workspace = Workspace(arguments=arguments, coverage=coverage)
    event = read_event(variables(), workspace.root)
    labels = runners(runner, gate_runners, speed_runners)
    refuse_forks(event, labels)
    choice = Choice(
        gates=gates,
        shards=shards or None,
        target=seconds(target, "target") if target else None,
        pythons=pythons,
        services=services,
        skips=_skips(workspace, event, drafts=drafts, docs=docs_only.split()),
    )
    runs = past_runs(workspace, cached(workspace, history_url, variables()))
    inputs = workspace.inputs(runs, gates)
    tell_notes(inputs)
    made = assemble(inputs, choice, workspace.commit)
    write_atomic(out, encode(made))
    set_outputs(
        variables(), {**outputs(made, labels, waves=waves), "attempt": variables().get("GITHUB_RUN_ATTEMPT", "1")}
    )
    tell(made, known=any(past.runs for past in runs.values()))
    say(f"thebes: {amount(len(made.tasks), 'task')} in {out}")


def refuse_forks(event: Event, labels: Runners) -> None:
    """What really keeps forks off such machines are runner groups and approval; here it is said before a job waits."""
    if event.fork and "self-hosted" in labels.all():
        raise InputError("runner: a change from a fork does not run on self-hosted runners; docs/github.md tells why")


def _skips(workspace: Workspace, event: Event, *, drafts: bool, docs: list[str]) -> tuple[Skip, ...]:
    files = changed(workspace.root, event.base) if event.base else None
    configs: list[dict[str, Config]] = [workspace.configs]
    if event.base:
        configs.append(workspace.configs_at(event.base))
    return skips(event, files, configs, drafts=drafts, docs=docs)
