"""The history, as commands use it. Apart from the workspace, because the database library takes long to import."""

import json
import platform
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from thebes.errors import InputError
from thebes.history.durations import read_durations
from thebes.history.read import PastRun, Stamp
from thebes.history.store import History
from thebes.plan import Past, Shared
from thebes.plan.select import still_failing
from thebes.plugin.thebes_plugin.split import file_key
from thebes.repository import branch, renames

from .text import clean, say
from .workspace import Workspace

RECENT = 5  # runs that tell how much memory a worker needs


def history_url(workspace: Workspace, given: str | None = None) -> str:
    """Where the history is: as given, by THEBES_HISTORY, as configured, else a file in `.thebes`."""
    return (
        given
        or workspace.environment.get("THEBES_HISTORY")
        or workspace.config.history
        or str(workspace.own_folder() / "history.db")
    )


def open_history(workspace: Workspace, given: str | None = None) -> History:
    return History(history_url(workspace, given))


def cached(workspace: Workspace, given: str | None, environment: Mapping[str, str]) -> str | None:
    """Where the history is: as given or configured, else where the job's cache puts it. What the cache brought is
    only used if it can be read: nobody can mend a cache."""
    place = environment.get("THEBES_CACHED_HISTORY")
    if given or environment.get("THEBES_HISTORY") or workspace.config.history or not place:
        return given
    try:
        with open_history(workspace, place) as history:
            history.stamps()
    except InputError as error:
        say(f"thebes: the cached history is left out: {clean(str(error))}")
        Path(place).unlink(missing_ok=True)
    return place


def remember(workspace: Workspace, run: sqlite3.Connection, verdict: str, url: str | None = None) -> None:
    """Add a run.db to the history."""
    now = Stamp(
        at=time.time(),
        commit=workspace.commit,
        branch=branch(workspace.root),
        machine=platform.node(),
        verdict=verdict,
    )
    with open_history(workspace, url) as history:
        history.feed(run, now, partial=_partial(workspace, run))


def _partial(workspace: Workspace, run: sqlite3.Connection) -> bool:
    """Was only a part of the tests asked for? By options, by pytest's arguments beside those that are configured, or by
    a gate that a marker tells apart: its tests may be all of a file that were to run."""
    (narrowed,) = run.execute("SELECT value FROM meta WHERE key = 'narrowed'").fetchone()
    if narrowed != "[]" or any(gate.marker for each in workspace.configs.values() for gate in each.gates.values()):
        return True
    usual = {path: list(config.args) for path, config in workspace.configs.items()}
    return any(json.loads(args) != usual.get(path, []) for path, args in run.execute("SELECT path, args FROM project"))


def past_runs(workspace: Workspace, url: str | None, durations: Sequence[Path] = ()) -> dict[str, Past]:
    """What past runs say, by project: from the files where these are given, else from the history."""
    if durations:
        given = Past(runs=tuple(read_durations(path) for path in durations))
        return dict.fromkeys(workspace.configs, given)
    with open_history(workspace, url) as history:
        told = {path: (history.runs(path), history.cores(path)) for path in workspace.configs}
    return {
        path: _past(_as_now(workspace, path, runs), cores) if runs else _committed(workspace.root / path)
        for path, (runs, cores) in told.items()
    }


def _committed(project: Path) -> Past:
    """The file that pytest-split keeps in a repository, for a project without a history of its own."""
    path = project / ".test_durations"
    return Past(runs=(read_durations(path),)) if path.is_file() else Past()


def _past(runs: Sequence[PastRun], cores: Mapping[str, str]) -> Past:
    overheads: dict[str, float] = {}
    for run in runs:
        overheads |= {file: imported + fixtures for file, (imported, fixtures) in run.files.items()}
    return Past(
        runs=tuple(run.tests for run in runs),
        overheads=overheads,
        shared=_shared(runs),
        start=next((run.start for run in reversed(runs) if run.start is not None), 0.0),
        job_start=next((run.job_start for run in reversed(runs) if run.job_start is not None), None),
        groups=_groups(runs),
        worker_memory=max((run.worker_memory for run in runs[-RECENT:]), default=0),
        left_out=tuple(run.left_out for run in runs),
        failed=still_failing((run.files, run.left_out, run.red) for run in runs),
        empty=_empty(runs),
        unstable=frozenset().union(*(run.unstable for run in runs)),
        cores=cores,
    )


def _groups(runs: Sequence[PastRun]) -> dict[str, str]:
    """The group of each test as the newest run tells that ran it."""
    found: dict[str, str] = {}
    for run in runs:
        kept = {test: to for test, to in found.items() if file_key(test) not in run.files or test in run.left_out}
        found = {**kept, **run.groups}
    return found


def _shared(runs: Sequence[PastRun]) -> dict[str, Shared]:
    """Costly fixtures as the newest run tells that set them up. One that a later run did without, although it had all
    the files that used to need it, is gone."""
    found: dict[str, Shared] = {}
    for run in runs:
        kept = {name: one for name, one in found.items() if not one.users.keys() <= run.files.keys()}
        found = kept | {name: Shared(seconds=seconds, users=users) for name, (seconds, users) in run.shared.items()}
    return found


def _empty(runs: Sequence[PastRun]) -> frozenset[str]:
    """Files that were collected when last seen, and had no test: they skip themselves, or are there for others."""
    found: dict[str, bool] = {}
    for run in reversed(runs):
        if unseen := run.files.keys() - found.keys():
            tests = {file_key(test) for test in (*run.tests, *run.left_out)}
            found |= {file: file not in tests and file not in run.red for file in unseen}
    return frozenset(file for file, empty in found.items() if empty)


def _as_now(workspace: Workspace, project: str, runs: Sequence[PastRun]) -> list[PastRun]:
    """Past runs with the names that files have now. Names are relative to pytest's rootdir, which need not be the
    project's folder."""
    found = workspace.discovery(project)
    renamed = _renamed(runs, Path(found.rootdir), {file.key for file in found.files})
    return [run.moved(renamed) for run in runs]


def _renamed(runs: Sequence[PastRun], rootdir: Path, present: Collection[str]) -> dict[str, str]:
    """Files of past runs that git says to have another name now; of each, since the newest run that had it. Git is
    asked only where files are gone and there is one that no run knows, or where it would come back that a file must
    not be cut."""
    known = {file for run in runs for file in run.files}
    unstable = {file for run in runs for file in run.unstable}
    sought = known if any(file not in known for file in present) else unstable
    gone = {file for file in sought.difference(present) if not (rootdir / file).exists()}
    found: dict[str, str] = {}
    for run in reversed(runs):
        if mine := gone.intersection(run.files).difference(found):
            names = renames(rootdir, run.stamp.commit)
            found |= {file: names.get(file, file) for file in mine}
    return {old: new for old, new in found.items() if new != old}
