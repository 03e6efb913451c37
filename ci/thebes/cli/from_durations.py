"""`thebes plan --from-durations`: no project, no pytest, no history; a million tests in seconds."""

import gc
from pathlib import Path

import click
import msgspec

from thebes.codec import encode, write_atomic
from thebes.config import Config
from thebes.errors import InputError
from thebes.history.durations import read_durations
from thebes.model import DEFAULT_GATE
from thebes.plan.from_durations import against, files_of, pack_durations, plan_of
from thebes.plan.packed import Packed, Wish

from .explain import explanation, give
from .text import amount, lasting, say


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the person asks for."""

    durations: tuple[Path, ...]
    wish: Wish
    against: Path | None
    out: Path | None
    explained: bool
    as_json: bool


def from_durations(request: Request) -> None:
    """Print or write the plan, or what its shards would really have taken."""
    if not request.durations:
        raise InputError("--from-durations: needs --durations FILE, once or several times, oldest first")
    # All that is made here lives until the process ends, soon: looking for garbage among a million tests only
    # takes time, a fifth of it or more.
    gc.disable()
    if request.explained and request.against:
        raise InputError("--explain: not with --against")
    runs = [read_durations(path) for path in request.durations]
    times = read_durations(request.against) if request.against else None
    if not (runs[-1] if times is None else times):
        raise InputError(f"{request.against or request.durations[-1]}: no test in it; there is nothing to plan")
    if times is None:
        found = pack_durations(runs, files_of(runs[-1]), request.wish)
        _give_plan(found, request)
        return
    _tell_outcome(pack_durations(runs, files_of(times), request.wish), times, request)


def _give_plan(found: Packed, request: Request) -> None:
    plan = plan_of(found)
    encoded = encode(plan)
    if request.out:
        write_atomic(request.out, encoded)
        longest = max(found.expected, default=0.0)
        files = amount(len(found.loads), "file")
        say(f"{amount(len(plan.tasks), 'task')}, {files}, the longest about {lasting(longest)}")
    if request.explained:
        give(explanation(plan, {DEFAULT_GATE: found}, Config()), as_json=request.as_json)
    elif request.as_json or not request.out:
        click.echo(encoded, nl=False)


def _tell_outcome(found: Packed, times: dict[str, float], request: Request) -> None:
    if request.out:
        write_atomic(request.out, encode(plan_of(found)))
    outcome = against(found, times)
    if request.as_json:
        click.echo(encode(outcome), nl=False)
        return
    for index, (seconds, expected) in enumerate(zip(outcome.loads, found.expected, strict=True), 1):
        click.echo(f"{index}/{len(outcome.loads)}  {lasting(seconds)}  estimated {lasting(expected)}")
    longest = max(outcome.loads, default=0.0)
    ratio = f", {longest / outcome.lower_bound:.3f} times the lower bound" if outcome.lower_bound else ""
    click.echo(f"the longest {lasting(longest)}{ratio} of {lasting(outcome.lower_bound)}")
