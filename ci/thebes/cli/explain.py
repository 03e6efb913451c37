"""`thebes plan --explain`: the planner's reasons as text."""

from collections.abc import Iterable, Mapping

import click

from thebes.codec import encode
from thebes.config import Config
from thebes.model import Plan
from thebes.plan.explain import Alone, Alternative, CutFile, Explanation, SuiteView, Unsure, explain
from thebes.plan.packed import Packed

from .text import amount, clean, lasting

_SHOWN = 20  # cut files and opened classes, at most


def explanation(plan: Plan, suites: Mapping[str, Packed], config: Config) -> Explanation:
    views = (explain(suite, suites[suite], price=config.price_per_minute) for suite in sorted(suites))
    alone = (Alone(task=task.id, seconds=task.estimate, files=len(task.pieces)) for task in plan.tasks if task.alone)
    return Explanation(suites=tuple(views), alone=tuple(alone))


def give(found: Explanation, *, as_json: bool) -> None:
    """On standard output."""
    if as_json:
        click.echo(encode(found), nl=False)
        return
    click.echo("\n\n".join("\n".join(lines(suite)) for suite in found.suites))
    for each in found.alone:
        click.echo(f"\n{each.task}: {lasting(each.seconds)}, {amount(each.files, 'file')} alone on its machine")


def lines(suite: SuiteView) -> Iterable[str]:
    """The view of one suite, for people."""
    longest = max((shard.seconds for shard in suite.shards), default=0.0)
    yield (
        f"{suite.suite}: {amount(len(suite.shards), 'shard')}, the longest about {lasting(longest)}, "
        f"{suite.ratio:.3f} times the lower bound of {lasting(suite.lower_bound)}"
    )
    yield from _number(suite)
    for shard in suite.shards:
        parts = f", {shard.parts} of them in part" if shard.parts else ""
        yield (
            f"  {shard.shard:>3}  {lasting(shard.seconds):>12} ± {lasting(shard.spread)}  "
            f"{amount(shard.files, 'file')}{parts}, {amount(shard.tests, 'known test')}"
        )
    yield from _section("cut", (_cut(file) for file in suite.cut[:_SHOWN]), len(suite.cut) - _SHOWN)
    yield from _section("least certain", map(_unsure, suite.unsure))
    yield from _longest(suite)
    yield from _section(
        "by number of shards, at best, with what starting the jobs takes", map(_alternative, suite.alternatives)
    )


def _number(suite: SuiteView) -> Iterable[str]:
    """Why there are as many shards as there are, unless so many were asked for."""
    allows = f"; {suite.limit} allows {suite.allowed}" if suite.limit else ""
    if suite.target:
        yield f"  target of {lasting(suite.target.seconds)}, starting the job included: {_met(suite)}{allows}"
    elif suite.limit:
        yield f"  {suite.asked} were asked for{allows}"
    if len(suite.shards) < suite.allowed:
        asked = "" if suite.target or suite.limit else f"{suite.asked} were asked for; "
        yield f"  {asked}there is nothing to put into more"


def _met(suite: SuiteView) -> str:
    if not suite.target or not suite.target.missed:
        return "met"
    takes = f"; it takes {amount(suite.asked, 'shard')} or more" if suite.asked > suite.allowed else ""
    return f"missed by {lasting(suite.target.missed)}{takes}"


def _section(title: str, rows: Iterable[str], more: int = 0) -> Iterable[str]:
    shown = list(rows)
    if shown:
        yield f"  {title}:"
        yield from (f"    {row}" for row in shown)
    if more > 0:
        yield f"    and {more} more"


def _cut(file: CutFile) -> str:
    opened = f"; opened: {clean(', '.join(file.opened[:_SHOWN]))}" if file.opened else ""
    again = f", each with {lasting(file.overhead)} of its own" if file.overhead else ""
    return f"{clean(file.file)}, {lasting(file.seconds)} in {file.shards} shards{again}: {file.why}{opened}"


def _unsure(file: Unsure) -> str:
    new = ", new: nothing is known about it" if file.new else ""
    return f"{clean(file.file)}: {lasting(file.seconds)} ± {lasting(file.spread)}{new}"


def _longest(suite: SuiteView) -> Iterable[str]:
    if suite.longest is None:
        return
    yield f"  longest test: {clean(suite.longest.test)}, {lasting(suite.longest.seconds)}"
    if suite.longest.gain:
        yield f"    as two tests of half its length it would save {lasting(suite.longest.gain)}"
    else:
        yield "    splitting it would gain nothing"


def _alternative(each: Alternative) -> str:
    cost = "" if each.cost is None else f", {each.cost:g} for the minutes begun"
    return f"{each.shards:>3}: {lasting(each.wall)}, {lasting(each.machine)} of machines in all{cost}"
