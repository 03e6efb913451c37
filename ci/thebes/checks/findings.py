"""What a finished check found, and what that makes of it. The record says it; judging holds it against the baseline."""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from thebes.errors import FormatError
from thebes.model import Finding

from .adapt import Adapted
from .parsers import MOST

LIMIT = 64 << 20  # bytes of a report that are read
FAILING = ("error", "warning")


class Found(NamedTuple):
    """Findings, and the reason that they are: a code of the table of reasons with a text, or none."""

    findings: list[Finding]
    code: str = ""
    text: str = ""


def failing(adapted: Adapted, exit_code: int, output: Path, folder: Path) -> Found:
    """`output`: what was printed. `folder`: where the command ran; findings name files relative to it.

    A tool that ends in a way which means neither "clean" nor "findings" proves nothing: `check-broken`.
    """
    if adapted.parse is None:
        return Found([])
    try:
        findings = [_relative(finding, folder) for finding in adapted.parse(_bytes(adapted.report or output))[:MOST]]
    except (FormatError, OSError) as error:
        return Found([], "check-broken", f"exit code {exit_code}, and no findings that can be read: {error}")
    red = [finding for finding in findings if finding.severity in FAILING]
    if red and (exit_code in adapted.found or not adapted.found):
        return Found(findings, "check-findings", f"{len(red)} findings")
    if exit_code and not red and exit_code not in adapted.found and adapted.found:
        return Found(findings, "check-broken", f"exit code {exit_code}, which means neither clean nor findings")
    return Found(findings)


def listed(findings: list[Finding]) -> str:
    """The findings for the log, where the tool itself wrote them to a file."""
    return "".join(f"{one.file}:{one.line}: {one.severity}: {one.text} [{one.rule}]\n" for one in findings)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise FormatError(f"findings: more than {LIMIT >> 20} MiB")
    return data


def _relative(finding: Finding, folder: Path) -> Finding:
    """Tools name files in their own ways: absolute, or from a `./`."""
    path = Path(finding.file)
    if path.is_absolute() and path.is_relative_to(folder):
        return msgspec.structs.replace(finding, file=path.relative_to(folder).as_posix())
    return msgspec.structs.replace(finding, file=os.path.normpath(finding.file) if finding.file else "")
