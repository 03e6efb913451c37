"""The comment on a pull request, made from the verdict alone: all else in an artifact is the change's own text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from thebes.model import Reason, Verdict
from thebes.publish import words
from thebes.publish.summary import ICONS
from thebes.publish.text import code_span

from .rest import PAGE, Rest

MARK = "<!-- thebes: verdict -->"
AUTHOR = "github-actions[bot]"
LIMIT = 60_000  # characters; GitHub takes 65,536
SUBJECTS = 5
PAGES = 20


def markdown(verdict: Verdict, run_url: str) -> str:
    """The comment. Names of tests stand in code spans, where nothing is markup, link or mention."""
    lines = [MARK, f"### {ICONS[verdict.verdict.value]} {verdict.verdict.value}: {words.headline(verdict)}", ""]
    for line in _reasons(words.reasons(verdict)):
        if sum(map(len, lines)) + len(line) > LIMIT:
            lines.append("- … and more")
            break
        lines.append(line)
    return "\n".join([*lines, "", f"[The run and its report]({run_url}) · commit {code_span(verdict.commit[:12])}", ""])


def _reasons(reasons: Iterable[tuple[str, Reason]]) -> Iterator[str]:
    for gate, reason in reasons:
        yield f"- {ICONS[reason.verdict.value]} {gate + ': ' if gate else ''}{code_span(reason.text[:500])}"
        yield from (f"  - {code_span(subject[:500])}" for subject in reason.subjects[:SUBJECTS])
        if rest := len(reason.subjects[SUBJECTS:]) + reason.more:
            yield f"  - … and {rest:,} more"


def pull_request(rest: Rest, run: Mapping[str, Any]) -> int | None:
    """The open pull request whose newest commit the run tested; None if there is none any more.

    `run`: the event's `workflow_run`. What it says of pull requests is empty for forks, so the API is asked.
    """
    head, branch, sha = _owner(run), str(run.get("head_branch")), run.get("head_sha")
    found = rest.get(f"{rest.repository}/pulls?state=open&per_page={PAGE}&head={quote(f'{head}:{branch}', safe=':')}")
    numbers = [
        one.get("number") for one in found if isinstance(one, dict) and _table(one.get("head")).get("sha") == sha
    ]
    return next((number for number in numbers if isinstance(number, int)), None)


def put(rest: Rest, number: int, text: str) -> str:
    """Write the comment: over the one that is there, else a new one. Returns "updated" or "written"."""
    known = _known(rest, number)
    if known is None:
        rest.send("POST", f"{rest.repository}/issues/{number}/comments", {"body": text})
        return "written"
    rest.send("PATCH", f"{rest.repository}/issues/comments/{known}", {"body": text})
    return "updated"


def _known(rest: Rest, number: int) -> int | None:
    """Our own comment; one that somebody else began with the same mark is not ours."""
    for page in range(1, PAGES + 1):
        found = rest.get(f"{rest.repository}/issues/{number}/comments?per_page={PAGE}&page={page}")
        comments = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        for one in comments:
            ours = _table(one.get("user")).get("login") == AUTHOR and str(one.get("body", "")).startswith(MARK)
            if ours and isinstance(one.get("id"), int):
                return int(one["id"])
        if len(comments) < PAGE:
            return None
    return None


def _owner(run: Mapping[str, Any]) -> str:
    return str(_table(_table(run.get("head_repository")).get("owner")).get("login"))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
