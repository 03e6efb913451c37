"""What tools print or write, as findings. The input is what other people's tools made of other people's files: what
is not understood is left out, and then the exit code stands alone."""

import json
import re
from collections.abc import Iterator
from typing import Any

from thebes.errors import FormatError
from thebes.foreign.sarif import sarif as read_sarif
from thebes.model import Finding

TEXT = 2_000
MOST = 10_000  # findings of one task
MYPY = re.compile(
    r"(?P<file>[^:\n]+):(?P<line>\d{1,9})(?::\d+)?: (?P<severity>error|warning|note): (?P<text>.*?)"
    r"(?:  \[(?P<rule>[\w-]+)\])?"
)
ACTIONLINT = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d{1,9}):\d+: (?P<text>.*) \[(?P<rule>[\w-]+)\]")
FORMAT = re.compile(r"Would reformat: (?P<file>.+)|\s*--> (?P<place>[^:\n]+):\d+:\d+")
SEVERITIES = {"information": "note", "HIGH": "error", "MEDIUM": "warning", "LOW": "warning"}


def mypy(data: bytes) -> list[Finding]:
    return _lines(data, MYPY, "mypy")


def pyright(data: bytes) -> list[Finding]:
    return [
        _finding(
            one.get("file"),
            _after(_table(_table(one.get("range")).get("start")).get("line")),
            one.get("rule") or "pyright",
            one.get("severity"),
            one.get("message"),
        )
        for one in _dicts(_table(_printed(data)).get("generalDiagnostics"))
    ]


def actionlint(data: bytes) -> list[Finding]:
    return _lines(data, ACTIONLINT, "actionlint")


def ruff_format(data: bytes) -> list[Finding]:
    lines = (FORMAT.fullmatch(line) for line in _text(data).splitlines())
    files = dict.fromkeys(match["file"] or match["place"] for match in lines if match)
    return [_finding(file, 0, "format", "error", "is not formatted") for file in files]


def ruff(data: bytes) -> list[Finding]:
    return [
        _finding(
            one.get("filename"),
            _table(one.get("location")).get("row"),
            one.get("code") or "syntax",
            "error",
            one.get("message"),
        )
        for one in _dicts(_json(data))
    ]


def bandit(data: bytes) -> list[Finding]:
    return [
        _finding(
            one.get("filename"),
            one.get("line_number"),
            one.get("test_id"),
            one.get("issue_severity"),
            one.get("issue_text"),
        )
        for one in _dicts(_table(_json(data)).get("results"))
    ]


def pip_audit(data: bytes) -> list[Finding]:
    """One finding for each known hole of a package; no file, because a package is installed, not written."""
    found = []
    for package in _dicts(_table(_json(data)).get("dependencies")):
        for hole in _dicts(package.get("vulns")):
            fixes = hole.get("fix_versions")
            mended = f"; fixed in {', '.join(map(str, fixes))}" if isinstance(fixes, list) and fixes else "; no fix yet"
            text = f"{package.get('name')} {package.get('version')}{mended}: {hole.get('description')}"
            found.append(_finding("", 0, hole.get("id"), "error", text))
    return found


def detect_secrets(data: bytes) -> list[Finding]:
    results = _table(_table(_printed(data)).get("results"))
    return [
        _finding(file, one.get("line_number"), one.get("type"), "error", "looks like a secret")
        for file, secrets in results.items()
        for one in _dicts(secrets)
    ]


def sarif(data: bytes) -> list[Finding]:
    """Findings of a SARIF file. FormatError: it is none, or a tool says in it that it did not come to its end."""
    found = read_sarif(data, "findings")
    if found.failed:
        raise FormatError(f"findings: {', '.join(found.failed)} did not come to its own end")
    return list(found.findings)


def printed_sarif(data: bytes) -> list[Finding]:
    return sarif(json.dumps(_printed(data)).encode())


def _lines(data: bytes, shape: re.Pattern[str], rule: str) -> list[Finding]:
    matches = (shape.fullmatch(line) for line in _text(data).splitlines())
    return [
        _finding(
            match["file"],
            int(match["line"]),
            match["rule"] or rule,
            match.groupdict().get("severity") or "error",
            match["text"],
        )
        for match in matches
        if match
    ]


def _finding(file: object, line: object, rule: object, severity: object, text: object) -> Finding:
    severity = SEVERITIES.get(str(severity), str(severity))
    return Finding(
        file=str(file or "")[:TEXT],
        line=line if isinstance(line, int) and 0 < line < 10**9 else 0,
        rule=str(rule or "")[:200],
        severity=severity if severity in {"error", "warning", "note"} else "warning",
        text=str(text or "")[:TEXT],
    )


def _after(line: object) -> object:
    """Lines of editors' protocols begin with 0."""
    return line + 1 if isinstance(line, int) else 0


def _printed(data: bytes) -> object:
    """The first JSON object in what was printed, among other lines."""
    text = _text(data)
    for match in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            return json.JSONDecoder().raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    raise FormatError("findings: no JSON object was printed")


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"findings: {error}") from None


def _text(data: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode("utf-8", "replace"))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())
