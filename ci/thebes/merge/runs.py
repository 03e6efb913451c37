"""Several merged runs → one, as where several workflows test the same commit. Each has been proved against its own
plan; nothing of that is lost, and table `origin` tells which suite came from where."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from thebes.errors import InputError

from .covering import Detail, Figures, figures, together, unpack
from .covering.detail import pack
from .store import RUN_DB, Store, open_run

OWN = ("meta", "coverage", "coverage_suite", "coverage_file", "origin")  # not simply copied


def merge_runs(folders: Sequence[Path], out: Path) -> Path:
    """Merge the run.db of every folder into `out`/run.db; returns its path. InputError if they are of different
    commits, or the same run is there twice.

    Suites of one name stay apart: the later ones get `-run2`, `-run3` and so on.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = [_described(folder) for folder in folders]
    _refuse(folders, known)
    if any((folder / RUN_DB).resolve() == (out / RUN_DB).resolve() for folder in folders):
        raise InputError(f"--out {out}: is one of the runs that are merged")
    plan = blake2b("".join(meta["plan"] for meta in known).encode(), digest_size=16).hexdigest()
    with Store(out / RUN_DB) as store, store.writing() as db:
        meta = {**known[0], "plan": plan}
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        for number, (folder, one) in enumerate(zip(folders, known, strict=True), 1):
            _copy(db, folder, one, number)
        _totals(db)
    return out / RUN_DB


def _described(folder: Path) -> dict[str, str]:
    with closing(open_run(folder)) as db:
        return dict(db.execute("SELECT key, value FROM meta").fetchall())


def _refuse(folders: Sequence[Path], known: Sequence[dict[str, str]]) -> None:
    seen: dict[str, Path] = {}
    for folder, meta in zip(folders, known, strict=True):
        if meta["commit"] != known[0]["commit"]:
            mine, first = meta["commit"] or "no commit", known[0]["commit"] or "no commit"
            raise InputError(f"{folder}: of {mine}, but {folders[0]} of {first}; runs of one commit can be merged")
        if meta["plan"] in seen and _same(folder, seen[meta["plan"]]):
            raise InputError(f"{folder}: the same run as {seen[meta['plan']]}")
        seen.setdefault(meta["plan"], folder)


def _same(one: Path, other: Path) -> bool:
    return (one / RUN_DB).read_bytes() == (other / RUN_DB).read_bytes()


def _copy(db: sqlite3.Connection, folder: Path, meta: dict[str, str], number: int) -> None:
    db.execute("ATTACH ? AS other", (f"{(folder / RUN_DB).resolve().as_uri()}?mode=ro",))
    db.execute("BEGIN")
    for table in ("suite", "task"):
        db.execute(f"CREATE TEMP TABLE {table}_name (old TEXT PRIMARY KEY, new TEXT NOT NULL)")
        db.execute(
            f"INSERT INTO {table}_name SELECT id, id || iif(EXISTS (SELECT 1 FROM main.{table} m WHERE m.id = o.id),"  # noqa: S608
            f" '-run{number}', '') FROM other.{table} o"
        )
    tables = db.execute("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table'").fetchall()
    for table, sql in tables:
        if table not in OWN:
            _copy_table(db, table, ordered="WITHOUT ROWID" not in sql)
    db.execute("INSERT INTO main.origin SELECT new, ?, ?, ? FROM suite_name", (number, str(folder), meta["plan"]))
    _copy_coverage(db)
    for table in ("suite", "task"):
        db.execute(f"DROP TABLE temp.{table}_name")
    db.execute("COMMIT")
    db.execute("DETACH other")


def _copy_table(db: sqlite3.Connection, table: str, *, ordered: bool) -> None:
    columns = [name for (name,) in db.execute("SELECT name FROM main.pragma_table_info(?)", (table,))]
    order = " ORDER BY rowid" if ordered else ""
    chosen = ", ".join(_renamed(table, column) for column in columns)
    db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT {chosen} FROM other.{table} o{order}")  # noqa: S608


def _renamed(table: str, column: str) -> str:
    what = column if column in {"suite", "task"} else table if column == "id" else ""
    if what not in {"suite", "task"}:
        return f'o."{column}"'
    return f'coalesce((SELECT new FROM temp.{what}_name WHERE old = o."{column}"), o."{column}")'  # noqa: S608


def _copy_coverage(db: sqlite3.Connection) -> None:
    """Suites get new numbers; a source that is there already is what both executed of it."""
    (offset,) = db.execute("SELECT count(*) FROM main.coverage_suite").fetchone()
    db.execute(
        "INSERT INTO main.coverage_suite SELECT c.number + ?, n.new FROM other.coverage_suite c"
        " JOIN temp.suite_name n ON n.old = c.suite",
        (offset,),
    )
    rows = db.execute("SELECT project, file, detail, source FROM other.coverage_file").fetchall()
    for project, file, packed, source in rows:
        detail = _shifted(unpack(packed), offset)
        before = db.execute("SELECT detail FROM main.coverage_file WHERE file = ? AND project = ?", (file, project))
        if found := before.fetchone():
            detail = together([unpack(found[0]), detail])
        row = (project, file, *figures(detail, detail.measured), pack(detail), source)
        db.execute("INSERT OR REPLACE INTO main.coverage_file VALUES (?,?,?,?,?,?,?,?,?,?)", row)
    db.execute(
        "INSERT INTO main.coverage SELECT * FROM other.coverage WHERE true ON CONFLICT (project, gate) DO UPDATE SET"
        " percent = iif(percent IS NULL OR excluded.percent IS NULL, NULL, percent),"
        " text = iif(text = '', excluded.text, text)"
    )


def _shifted(detail: Detail, offset: int) -> Detail:
    detail.measured = [suite + offset for suite in detail.measured]
    detail.sets = [[suite + offset for suite in suites] for suites in detail.sets]
    return detail


def _totals(db: sqlite3.Connection) -> None:
    """Figures of gates and projects, from the sources that are now there."""
    gates: dict[tuple[str, str], set[int]] = {}
    for number, project, gate in db.execute(
        "SELECT c.number, s.project, s.gate FROM coverage_suite c JOIN suite s ON s.id = c.suite"
    ):
        for name in (gate, ""):
            gates.setdefault((project, name), set()).add(number)
    totals: dict[tuple[str, str], Figures] = {}
    for project, packed in db.execute("SELECT project, detail FROM coverage_file"):
        detail = unpack(packed)
        for key, among in gates.items():
            if key[0] == project and among.intersection(detail.measured):
                totals[key] = totals.get(key, Figures()) + figures(detail, among)
    for (project, gate), found in totals.items():
        db.execute(
            "UPDATE coverage SET percent = iif(percent IS NULL, NULL, ?), statements = ?, executed = ?, branches = ?,"
            " taken = ?, changed = ?, changed_executed = ? WHERE project = ? AND gate = ?",
            (found.percent, *found, project, gate),
        )
