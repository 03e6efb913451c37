"""Coverage in the forms that other tools read: Cobertura's XML, coverage.py's JSON, LCOV."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from .cobertura import Cobertura
from .document import Document
from .lcov import Lcov
from .sources import Source, sources

__all__ = ["Source", "files", "sources"]


class Writer(Protocol):
    """Takes the sources in the order of their paths; `close` writes what can only be told at the end."""

    def add(self, source: Source) -> None: ...
    def close(self) -> None: ...


WRITERS: dict[str, Callable[[TextIO, Sequence[str]], Writer]] = {
    "coverage.xml": Cobertura,
    "coverage.json": Document,
    "coverage.lcov": Lcov,
}


def files(db: sqlite3.Connection, out: Path) -> list[Path]:
    """Write all forms into `out`, in one pass over the sources. Returns their paths; none if nothing was measured."""
    if not db.execute("SELECT 1 FROM coverage_file").fetchone():
        return []
    out.mkdir(parents=True, exist_ok=True)
    names = [suite for (suite,) in db.execute("SELECT suite FROM coverage_suite ORDER BY number")]
    paths = {out / name: kind for name, kind in WRITERS.items()}
    with ExitStack() as stack:
        writers = [kind(stack.enter_context(_whole(path)), names) for path, kind in paths.items()]
        for source in sources(db):
            for writer in writers:
                writer.add(source)
        for writer in writers:
            writer.close()
    return list(paths)


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A file that appears under its name once it is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
