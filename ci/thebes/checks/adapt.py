"""Which tool a command is of, what it is asked for in addition, and where its findings will be."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from thebes.model import Finding

from . import parsers

SARIF = "{sarif}"  # in a command: where the tool shall write
REPORT = "findings"
WRAPPERS = {"uv": ("uv", "run"), "poetry": ("poetry", "run"), "pdm": ("pdm", "run"), "hatch": ("hatch", "run")}
FORMATS = ("-f", "--format", "--output-format", "-o", "--output", "--outputjson", "--output-file", "--sarif-file")

Parse = Callable[[bytes], list[Finding]]


class Tool(NamedTuple):
    """`more`: arguments that are added, with {report} for a path. `parse` reads that file, or, where `more` names
    none, what the tool printed. `found`: exit codes that mean findings; empty: findings count whatever the code."""

    parse: Parse
    more: tuple[str, ...] = ()
    found: frozenset[int] = frozenset({1})
    command: str = ""  # the subcommand that it is about, where a tool has several


class Adapted(NamedTuple):
    """A command ready to run. `report`: the file that will have the findings, None for what is printed. `parse`:
    None for a command of which nothing is known but its exit code."""

    command: list[str]
    report: Path | None
    parse: Parse | None
    found: frozenset[int]


TOOLS: dict[str, tuple[Tool, ...]] = {
    "ruff": (
        Tool(parsers.ruff, ("--output-format=json", "--output-file={report}"), command="check"),
        Tool(parsers.ruff_format, command="format"),
    ),
    "mypy": (Tool(parsers.mypy, found=frozenset({1, 2})),),
    "pyright": (Tool(parsers.pyright, ("--outputjson",)),),
    "basedpyright": (Tool(parsers.pyright, ("--outputjson",)),),
    "bandit": (Tool(parsers.bandit, ("--format", "json", "--output", "{report}")),),
    "pip-audit": (Tool(parsers.pip_audit, ("--format", "json", "--output", "{report}")),),
    "detect-secrets": (Tool(parsers.detect_secrets, found=frozenset(), command="scan"),),
    "gitleaks": (Tool(parsers.sarif, ("--report-format=sarif", "--report-path={report}")),),
    "zizmor": (Tool(parsers.printed_sarif, ("--format=sarif",), found=frozenset()),),
    "actionlint": (Tool(parsers.actionlint),),
    "ansible-lint": (Tool(parsers.sarif, ("--sarif-file", "{report}"), found=frozenset({2})),),
}


def adapt(command: Sequence[str], folder: Path) -> Adapted:
    """`command` as it is to be run; files that it writes for us go to `folder`."""
    report = folder / REPORT
    if any(SARIF in word for word in command):
        told = [word.replace(SARIF, str(report)) for word in command]
        return Adapted(told, report, parsers.sarif, frozenset())
    name, rest = _name(command)
    for tool in TOOLS.get(name, ()):
        if tool.command and tool.command not in rest:
            continue
        if tool.more and _has_own_format(rest):
            break  # somebody wants it otherwise, and reads it otherwise
        more = [word.format(report=report) for word in tool.more]
        own = report if any("{report}" in word for word in tool.more) else None
        return Adapted([*command, *more], own, tool.parse, tool.found)
    return Adapted(list(command), None, None, frozenset())


def _name(command: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The tool's name and its arguments, behind `python -m` and `uv run`."""
    words = list(command)
    for wrapper in WRAPPERS.values():
        if tuple(words[:2]) == wrapper:
            words = words[2:]
    if len(words) > 2 and PurePath(words[0]).name.startswith("python") and words[1] == "-m":
        words = words[2:]
    return (PurePath(words[0]).name.replace("_", "-"), words[1:]) if words else ("", [])


def _has_own_format(arguments: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in FORMATS for word in arguments)
