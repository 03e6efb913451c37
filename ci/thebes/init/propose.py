"""The files that follow from what a repository tells. Pure: text in, text out."""

import json
import re
from collections.abc import Iterable

from thebes.checks.presets import PRESETS

from .look import Found

SOURCE = re.compile(r"(?P<repository>[\w-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})(?: *# *(?P<version>[\w.-]+))?")
CALL = re.compile(r"(uses: *)[\w-]+/[\w.-]+(/\.github/workflows/quality-gates\.yml)@.*")
WITH_SERVICES = ("database", "integration")
COMMANDS = {
    "ruff": ("quality", ("ruff check .", "ruff format --check .")),
    "mypy": ("quality", ("mypy .",)),
    "pyright": ("quality", ("pyright",)),
    "bandit": ("security", PRESETS["security"][:1]),
    "pip-audit": ("security", PRESETS["security"][1:2]),
    "detect-secrets": ("security", PRESETS["security"][2:]),
    "zizmor": ("security", ("zizmor .",)),
    "actionlint": ("quality", ("actionlint",)),
}
CHECK = "gates / decide"

WORKFLOW = """name: Gates

on:
  pull_request:
  merge_group:

permissions: {{}}

jobs:
  gates:
    uses: {uses}
    permissions:
      contents: read
      actions: read
"""
RUNNER = """    with:
      runner: '{labels}'
"""


def workflow(source: str, existing: str, found: Found) -> str:
    """The calling workflow, on the repository's own runners where they can be reached. One that is there keeps all
    but the commit that it calls.

    `source`: `OWNER/thebes@COMMIT`, perhaps with ` # vX.Y.Z` behind it.
    """
    match = SOURCE.fullmatch(source)
    assert match  # noqa: S101  (the command has checked it)
    version = f" # {match['version']}" if match["version"] else ""
    uses = f"{match['repository']}/.github/workflows/quality-gates.yml@{match['commit']}{version}"
    if not existing:
        own = found.labels and not out_of_reach(source, found)
        return WORKFLOW.format(uses=uses) + (RUNNER.format(labels=json.dumps(list(found.labels))) if own else "")
    return CALL.sub(lambda found: f"{found[1]}{uses}", existing)


def out_of_reach(source: str, found: Found) -> str:
    """What to do about self-hosted runners that a workflow of another owner can't have; else nothing."""
    owner, _, name = source.partition("@")[0].partition("/")
    ours = found.repository.partition("/")[0]
    if not found.labels or owner.casefold() == ours.casefold():
        return ""
    return (
        f"the workflows here run on {', '.join(found.labels)}, which a workflow of {owner} can't reach: fork"
        f" {owner}/{name} into {ours or 'your own organisation'}, and give --from {ours or 'YOURS'}/{name}@COMMIT"
    )


def configuration(found: Found, pyproject: str) -> str:
    """The text of pyproject.toml with a table for the kit at its end; as it is if it has one."""
    if re.search(r"^\[+ *tool *\. *thebes\b", pyproject, re.MULTILINE):
        return pyproject
    before = pyproject.rstrip("\n")
    return (before + "\n\n" if before else "") + "\n".join(_tables(found)) + "\n"


def _tables(found: Found) -> Iterable[str]:
    checks: dict[str, list[str]] = {}
    for tool in found.tools:
        gate, commands = COMMANDS[tool]
        checks.setdefault(gate, []).extend(commands)
    required = ["unit", *found.gates, *checks]
    yield "[tool.thebes]"
    if not found.limited:
        yield 'test-limit = "30s"'
    if found.pythons:
        yield f"python = {json.dumps(list(found.pythons))}"
    yield f"required-gates = {json.dumps(list(dict.fromkeys(required)))}"
    for gate in dict.fromkeys((*found.gates, *checks)):
        lines = list(_gate(gate, found, checks.get(gate, [])))
        if lines:
            yield from ("", f"[tool.thebes.gates.{gate}]", *lines)


def _gate(gate: str, found: Found, checks: list[str]) -> Iterable[str]:
    if gate in WITH_SERVICES and found.services:
        services = ", ".join(f"{name} = {json.dumps(list(versions))}" for name, versions in found.services.items())
        yield f"services = {{ {services} }}"
    if checks:
        yield f"checks = {json.dumps(checks)}"


def protection(*, queue: bool) -> dict[str, object]:
    """A ruleset for the default branch: the one check, and a merge queue if wished."""
    rules: list[dict[str, object]] = [
        {
            "type": "required_status_checks",
            "parameters": {
                "strict_required_status_checks_policy": False,
                "required_status_checks": [{"context": CHECK}],
            },
        }
    ]
    if queue:
        rules.append(
            {
                "type": "merge_queue",
                "parameters": {
                    "check_response_timeout_minutes": 90,
                    "grouping_strategy": "ALLGREEN",
                    "max_entries_to_build": 5,
                    "max_entries_to_merge": 5,
                    "merge_method": "MERGE",
                    "min_entries_to_merge": 1,
                    "min_entries_to_merge_wait_minutes": 5,
                },
            }
        )
    return {
        "name": "thebes",
        "target": "branch",
        "enforcement": "active",
        "conditions": {"ref_name": {"include": ["~DEFAULT_BRANCH"], "exclude": []}},
        "rules": rules,
    }
