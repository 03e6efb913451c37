"""Labels of a pull request by the files that it changes: GitHub tells the files, the base's settings the labels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from thebes.errors import EvidenceError
from thebes.plan.groups import matches

from .rest import PAGE, Rest

FILES = 3000  # of a pull request that GitHub tells


class Moves(NamedTuple):
    """Labels to be added and taken off, sorted."""

    add: list[str]
    remove: list[str]


def moves(configured: Mapping[str, Sequence[str]], files: Sequence[str], present: Sequence[str]) -> Moves:
    """What makes the labels right. Those that are not configured are somebody else's, and stay.

    `files`: the changed ones; where they are as many as GitHub tells there may be more, and none is taken off.
    `present`: labels that the pull request has. GitHub takes `Docs` and `docs` for the same.
    """
    due = {label for label, globs in configured.items() if any(matches(file, glob) for file in files for glob in globs)}
    have = {label.casefold(): label for label in present}
    gone = [] if len(files) >= FILES else [label for label in configured if label not in due]
    return Moves(
        add=sorted(label for label in due if label.casefold() not in have),
        remove=sorted(have[label.casefold()] for label in gone if label.casefold() in have),
    )


def changed(rest: Rest, number: int) -> list[str]:
    """Files that the pull request changes, those that it renames by both names."""
    found: list[str] = []
    for page in range(1, FILES // PAGE + 1):
        files = _list(rest, f"{rest.repository}/pulls/{number}/files?per_page={PAGE}&page={page}")
        names = [file.get(key) for file in files for key in ("filename", "previous_filename")]
        found += [name for name in names if isinstance(name, str)]
        if len(files) < PAGE:
            break
    return found


def present(rest: Rest, number: int) -> list[str]:
    """Labels that the pull request has; it takes no more than a hundred."""
    labels = _list(rest, f"{rest.repository}/issues/{number}/labels?per_page={PAGE}")
    return [name for label in labels if isinstance(name := label.get("name"), str)]


def apply(rest: Rest, number: int, wanted: Moves) -> None:
    """EvidenceError: GitHub refuses, as it does with labels that do not exist."""
    place = f"{rest.repository}/issues/{number}/labels"
    try:
        if wanted.add:
            rest.send("POST", place, {"labels": wanted.add})
        for label in wanted.remove:
            rest.send("DELETE", f"{place}/{quote(label, safe='')}")
    except EvidenceError as error:
        raise EvidenceError(f"{error}; do these labels exist: {', '.join(wanted.add + wanted.remove)}?") from None


def _list(rest: Rest, path: str) -> list[dict[str, Any]]:
    found = rest.get(path)
    if not isinstance(found, list):
        raise EvidenceError(f"GitHub's API: {path}: no list in the answer")
    return [one for one in found if isinstance(one, dict)]
