"""SARIF 2.1: what static analysers found."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from thebes.errors import FormatError
from thebes.model import Finding

from .model import Sarif

LEVELS = {"error": "error", "warning": "warning", "note": "note", "none": "note"}
KINDS = {"fail", "open", "review", None}  # the other kinds say that nothing is wrong
TEXT = 4_000


def sarif(data: bytes, source: str) -> Sarif:
    """All findings of all runs. FormatError if `data` is no SARIF; odd results are taken as far as they go."""
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{source}: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        raise FormatError(f"{source}: no list `runs` in it; expected SARIF 2.1")
    runs = [run for run in document["runs"] if isinstance(run, dict)]
    results = [(run, result) for run in runs for result in _dicts(run.get("results"))]
    wrong = [(run, result) for run, result in results if result.get("kind") in KINDS]
    kept = [pair for pair in wrong if not _suppressed(pair[1])]
    return Sarif(
        tools=tuple(_tool(run) for run in runs),
        findings=tuple(_finding(run, result) for run, result in kept),
        suppressed=len(wrong) - len(kept),
        failed=tuple(_tool(run) for run in runs if _failed(run)),
    )


def _finding(run: dict[str, Any], result: dict[str, Any]) -> Finding:
    place = _dict(next(_dicts(result.get("locations")), {}).get("physicalLocation"))
    line = _dict(place.get("region")).get("startLine")
    return Finding(
        file=_path(_dict(place.get("artifactLocation")).get("uri")),
        line=line if isinstance(line, int) and 0 < line < 10**9 else 0,
        rule=_string(result.get("ruleId")) or _string(_rule(run, result).get("id")) or _tool(run),
        severity=LEVELS[_level(run, result)],
        text=_message(run, result)[:TEXT],
    )


def _level(run: dict[str, Any], result: dict[str, Any]) -> str:
    """The result's level, else its rule's, else `warning`, as the standard says."""
    level = result.get("level") or _dict(_rule(run, result).get("defaultConfiguration")).get("level")
    return level if isinstance(level, str) and level in LEVELS else "warning"


def _rule(run: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    rules = _dict(_dict(run.get("tool")).get("driver")).get("rules")
    rules = rules if isinstance(rules, list) else []
    index = result.get("ruleIndex", _dict(result.get("rule")).get("index"))
    if isinstance(index, int) and 0 <= index < len(rules):
        return _dict(rules[index])
    return next((rule for rule in _dicts(rules) if rule.get("id") == result.get("ruleId")), {})


def _message(run: dict[str, Any], result: dict[str, Any]) -> str:
    message = _dict(result.get("message"))
    text = _string(message.get("text")) or _string(message.get("markdown"))
    if not text:
        known = _dict(_rule(run, result).get("messageStrings")).get(_string(message.get("id")))
        text = _string(_dict(known).get("text"))
    arguments = message.get("arguments")
    for number, argument in enumerate(arguments[:20] if isinstance(arguments, list) else ()):
        text = text.replace(f"{{{number}}}", _string(argument))
    return text


def _suppressed(result: dict[str, Any]) -> bool:
    """Every suppression must have been accepted; one that is only proposed does not count."""
    known = list(_dicts(result.get("suppressions")))
    return bool(known) and all(one.get("status", "accepted") == "accepted" for one in known)


def _failed(run: dict[str, Any]) -> bool:
    return any(one.get("executionSuccessful") is False for one in _dicts(run.get("invocations")))


def _tool(run: dict[str, Any]) -> str:
    return _string(_dict(_dict(run.get("tool")).get("driver")).get("name"))


def _path(uri: object) -> str:
    text = _string(uri)
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    return unquote(parts.path) if parts.scheme in {"", "file"} else text


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
