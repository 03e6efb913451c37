"""Coverage as the page has it: figures of every source by the suites that reached it, and its lines as long as there
is room."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .coverage import Source, sources
from .text import one_line, plain

CONTEXTS = 20  # named for one line

Column = list[Any]
Put = Callable[[Sequence[Any]], list[int] | None]


def covered(db: sqlite3.Connection, put: Put) -> dict[str, Column]:
    """`coverageSuites`: their names. `sources`: path, branches, [suites, statements, arcs, changed] for every set of
    suites, whether changed lines are known, the suites that measured it, and where its lines are (null: no room).

    The lines go to `put`: first those of sources with changed statements that nothing executed, then those with most
    statements left.
    """
    rows = [_row(source) for source in sources(db)]
    order = db.execute(
        "SELECT DISTINCT file FROM coverage_file"
        " ORDER BY coalesce(changed - changed_executed, 0) DESC, statements - executed DESC, file"
    )
    places: dict[str, list[int] | None] = {}
    for (path,) in order.fetchall():
        source = next(sources(db, path))
        places[path] = put(_lines(source))
        if places[path] is None:
            break
    for row, path in rows:
        row.append(places.get(path))
    return {
        "coverageSuites": [plain(suite) for (suite,) in db.execute("SELECT suite FROM coverage_suite ORDER BY number")],
        "sources": [row for row, _ in rows],
    }


def _row(source: Source) -> tuple[Column, str]:
    detail = source.detail
    statements = Counter(detail.covers)
    arcs = Counter(by for _, _, by in detail.arcs)
    known = dict(zip(detail.statements, detail.covers, strict=True))
    changed = Counter(known[line] for line in detail.changed or ())
    sets = [[suites, statements[n], arcs[n], changed[n]] for n, suites in enumerate(detail.sets)]
    branches = sum(detail.exits.values())
    return [one_line(source.path, 1000), branches, sets, detail.changed is not None, detail.measured], source.path


def _lines(source: Source) -> Column:
    """Text, lines of statements, the set of suites for each, sets, excluded lines, arcs, changed lines, contexts."""
    detail = source.detail
    contexts = {line: [one_line(name, 200) for name in names[:CONTEXTS]] for line, names in detail.contexts.items()}
    return [
        plain(source.text),
        detail.statements,
        detail.covers,
        detail.sets,
        detail.excluded,
        [arc for arc in detail.arcs if arc[0] in detail.exits],
        detail.changed or [],
        contexts,
    ]
