"""The history, as commands use it. Apart from the workspace, because the database library takes long to import."""

import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from thebes.history import History, Stamp, read_durations
from thebes.repository import branch

from .workspace import Workspace


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


def past_runs(
    workspace: Workspace, url: str | None, durations: Sequence[Path] = ()
) -> dict[str, list[Mapping[str, float]]]:
    """Durations of past runs by project, oldest first: from the files where these are given, else the history."""
    if durations:
        given: list[Mapping[str, float]] = [read_durations(path) for path in durations]
        return dict.fromkeys(workspace.configs, given)
    with open_history(workspace, url) as history:
        return {path: [run.tests for run in history.runs(path)] for path in workspace.configs}


def stamp(workspace: Workspace, verdict: str) -> Stamp:
    return Stamp(
        at=time.time(),
        commit=workspace.commit,
        branch=branch(workspace.root),
        machine=platform.node(),
        verdict=verdict,
    )
