"""The event that started the workflow: what is checked, against which commit, and on whose behalf."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thebes.errors import InputError
from thebes.model import Value
from thebes.repository import git

LIMIT = 32 << 20  # bytes of the event file
SHA = re.compile(r"[0-9a-f]{40,64}")


class Event(Value, frozen=True, kw_only=True):
    """`base`: the commit that a change is held against, empty where nothing is changed (a push, a schedule).
    `fork`: the change comes from another repository."""

    name: str
    base: str = ""
    draft: bool = False
    fork: bool = False


def read_event(environment: Mapping[str, str], folder: Path) -> Event:
    """The event of this run; outside of GitHub Actions one without a change. InputError: the file can't be used."""
    name = environment.get("GITHUB_EVENT_NAME", "")
    if not environment.get("GITHUB_EVENT_PATH"):
        return Event(name=name)
    return of(name, read_document(environment), merged_onto(folder))


def read_document(environment: Mapping[str, str]) -> dict[str, Any]:
    """All that GitHub tells of the event. InputError: nothing that can be read."""
    path = environment.get("GITHUB_EVENT_PATH", "")
    try:
        with Path(path).open("rb") as file:
            return _table(json.loads(file.read(LIMIT)))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"GITHUB_EVENT_PATH {path}: can't be read as an event: {error}") from None


def of(name: str, document: Mapping[str, Any], onto: str) -> Event:
    """The event in its document. `onto`: the first parent of a merge commit that is checked out, else empty."""
    if name == "pull_request":
        change = _table(document.get("pull_request"))
        head, base = _table(change.get("head")), _table(change.get("base"))
        # The branch may have moved on since the event: what GitHub merged with is what counts.
        return Event(
            name=name,
            base=onto or _sha(base.get("sha")),
            draft=change.get("draft") is True,
            fork=_repository(head) != _repository(base),
        )
    if name == "merge_group":
        return Event(name=name, base=_sha(_table(document.get("merge_group")).get("base_sha")))
    return Event(name=name)


def merged_onto(folder: Path) -> str:
    """The first parent of the commit at hand, if that is a merge."""
    parents = (git(folder, "rev-list", "--parents", "-n", "1", "HEAD") or "").split()[1:]
    return parents[0] if len(parents) > 1 else ""


def _repository(side: Mapping[str, Any]) -> object:
    """A fork that was deleted has no name, and is not ours."""
    return _table(side.get("repo")).get("full_name")


def _sha(value: object) -> str:
    return value if isinstance(value, str) and SHA.fullmatch(value) else ""


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
