"""Which of coverage.py's cores is to measure a suite, by what the tests took under each."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from . import tables

FASTER = 0.95  # the other core must need less than this much of the time; two runs differ by a little anyhow
ENOUGH = 1.0  # seconds of tests without which nothing is told


class _Measured(NamedTuple):
    """Of a suite, in one run."""

    core: str
    cores: str
    run: int


def chosen_cores(db: sa.Connection, project: str) -> dict[str, str]:
    """By suite, the core for the next run. One that was never tried, and would do, is tried first. Suites for which
    the project names the core, or coverage.py knows only one, are left out."""
    measured, test = tables.measured, tables.test
    of_project = sa.exists().where(
        test.c.run == measured.c.run, test.c.suite == measured.c.suite, test.c.project == project
    )
    newest_first = (
        sa.select(measured.c.suite, measured.c.core, measured.c.cores, measured.c.run)
        .join(tables.run, tables.run.c.id == measured.c.run)
        .where(of_project)
        .order_by(tables.run.c.at.desc(), tables.run.c.id.desc())
    )
    rows: dict[str, list[_Measured]] = {}
    for suite, *row in db.execute(newest_first):
        rows.setdefault(suite, []).append(_Measured(*row))
    return {suite: _best(db, suite, found) for suite, found in rows.items() if found[0].cores}


def _best(db: sa.Connection, suite: str, newest_first: Sequence[_Measured]) -> str:
    now = newest_first[0]
    last = {row.core: row.run for row in reversed(newest_first)}
    for core in now.cores.split():
        if core not in last:
            return core
    for core in now.cores.split():
        if core != now.core:
            its, ours = _seconds(db, suite, last[core], now.run)
            if its + ours > ENOUGH and its < FASTER * ours:
                return core
    return now.core


def _seconds(db: sa.Connection, suite: str, run: int, other: int) -> tuple[float, float]:
    """What the tests that are in both runs took in each, on a machine of speed 1."""
    one, two = tables.test.alias(), tables.test.alias()
    both = (
        sa.select(sa.func.sum(one.c.own), sa.func.sum(two.c.own))
        .join(two, sa.and_(one.c.name == two.c.name, one.c.suite == two.c.suite))
        .where(one.c.run == run, two.c.run == other, one.c.suite == suite)
    )
    its, ours = db.execute(both).one()
    return its or 0.0, ours or 0.0
