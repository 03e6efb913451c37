"""`thebes github background`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import click

from thebes.cli import options as common
from thebes.cli.judge import VERDICT
from thebes.cli.task import EXITS
from thebes.cli.text import amount, lasting, say
from thebes.codec import read_verdict, write_atomic
from thebes.errors import FormatError, InputError
from thebes.github.background import MOST, Round, another, arguments, worst
from thebes.github.event import read_event
from thebes.github.runner import add_summary, inert, set_outputs, without_command_files
from thebes.model import VerdictKind
from thebes.publish.summary import ICONS

from . import variables


@click.command("background")
@click.option("--minutes", envvar="THEBES_MINUTES", required=True, type=click.IntRange(1, MOST), help="The budget.")
@click.option("--agent", envvar="THEBES_AGENT", required=True, help="Kind of agent, for the tests as THEBES_AGENT.")
@click.option(
    "--agents", envvar="THEBES_AGENTS", default=1, type=click.IntRange(1, 10_000), help="How many, as THEBES_AGENTS."
)
@click.option("--scenario", envvar="THEBES_SCENARIO", default="", help="Only tests whose names match it, as by -k.")
@click.option(
    "--stress",
    envvar="THEBES_STRESS",
    default="normal",
    type=click.Choice(["low", "normal", "high"]),
    help="As THEBES_STRESS.",
)
@click.option("--environment", "where", envvar="THEBES_ENVIRONMENT", default="local", help="As THEBES_ENVIRONMENT.")
@click.option(
    "--out", envvar="THEBES_OUT", required=True, type=common.path(), metavar="DIR", help="A folder for each round."
)
def background(minutes: int, agent: str, agents: int, scenario: str, stress: str, where: str, out: Path) -> int:
    """Run the tests marked `background` or `long_running` in rounds, until the budget has no room for another.

    The verdict is the worst of all rounds. Each round is a `thebes run` with all its reports.
    """
    if read_event(variables(), Path.cwd()).fork:
        raise InputError("background: a change from a fork does not run here; docs/github.md tells why")
    told = {
        "THEBES_AGENT": agent,
        "THEBES_AGENTS": str(agents),
        "THEBES_SCENARIO": scenario,
        "THEBES_STRESS": stress,
        "THEBES_ENVIRONMENT": where,
    }
    ends = time.monotonic() + minutes * 60
    rounds: list[Round] = []
    children = Children()
    with inert(lambda text: click.echo(text, nl=False)):
        while not children.stopped and another(rounds, ends - time.monotonic()):
            rounds.append(_round(children, out / f"round-{len(rounds) + 1}", arguments(scenario), told, ends))
    verdict = VerdictKind.INVALID if children.stopped else worst(rounds)
    _tell(out, rounds, verdict, told)
    return EXITS[verdict]


class Children:
    """Runs one child at a time, and hands on the signals that a cancelled job gets: GitHub signals only us."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped = True
        if self._process:
            self._process.send_signal(number)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as self._process:
            self._process.wait()


def _round(children: Children, folder: Path, selection: list[str], told: Mapping[str, str], ends: float) -> Round:
    """One run, in a process of its own: it ends with its task's limit, before the budget does."""
    began = time.monotonic()
    left = max(1, int(ends - began))
    command = [sys.executable, *_program(), "run", "--out", str(folder), "--task-limit", f"{left}s", "--shards", "1"]
    environment = {**without_command_files(os.environ), **told, "THEBES_SECONDS_LEFT": str(left)}
    children.run([*command, "--", *selection], environment)
    seconds = time.monotonic() - began
    try:
        return Round(verdict=read_verdict(folder / VERDICT).verdict, seconds=seconds)
    except FormatError:  # it said why, and left nothing
        return Round(verdict=VerdictKind.INVALID, seconds=seconds)


def _program() -> list[str]:
    """How this very program is started: the script of the action, or the module."""
    script = Path(sys.argv[0])
    return [str(script)] if script.name == "thebes" else ["-m", "thebes"]


def _tell(out: Path, rounds: list[Round], verdict: VerdictKind, told: Mapping[str, str]) -> None:
    table = [
        {"round": number, "verdict": one.verdict, "seconds": round(one.seconds, 3)}
        for number, one in enumerate(rounds, 1)
    ]
    write_atomic(out / "rounds.json", json.dumps({"verdict": verdict, "rounds": table, "inputs": told}).encode())
    lines = "".join(
        f"| {row['round']} | {row['verdict']} | {lasting(one.seconds)} |\n"
        for row, one in zip(table, rounds, strict=True)
    )
    head = (
        f"# {ICONS[verdict]} {verdict}: {amount(len(rounds), 'round')}\n\n| round | verdict | took |\n|---|---|---|\n"
    )
    add_summary(variables(), head + lines)
    set_outputs(variables(), {"verdict": verdict})
    say(f"thebes: {verdict}: {amount(len(rounds), 'round')} in {out}")
