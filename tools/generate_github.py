"""Writes the tables of docs/github.md from the workflow and the gates, so that they can't differ from them."""

import sys
from pathlib import Path

import yaml

from thebes.model import GATES, WAVES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "github.md"
WORKFLOW = ROOT / ".github" / "workflows" / "quality-gates.yml"
PURPOSES = {
    "unit": "fast tests; whatever belongs nowhere else",
    "contract": "what others rely on: APIs, formats",
    "security": "audits, static analysis, secrets; tests marked so",
    "database": "migrations and queries on real servers",
    "integration": "parts together, with real services",
    "performance": "benchmarks against a baseline",
    "quality": "format, lint, types",
}


def rendered(text: str) -> str:
    """The document with its tables filled in."""
    call = yaml.safe_load(WORKFLOW.read_text("utf-8"))[True]["workflow_call"]
    tables = {
        "gates": ["| wave | gate | what for |", "|---|---|---|"]
        + [f"| {WAVES[gate]} | `{gate}` | {PURPOSES[gate]} |" for gate in sorted(GATES, key=lambda gate: WAVES[gate])],
        "inputs": ["| input | type | default | meaning |", "|---|---|---|---|"]
        + [
            f"| `{name}` | {one['type']} | {_value(one['default'])} | {one['description']} |"
            for name, one in call["inputs"].items()
        ],
        "secrets": ["| secret | meaning |", "|---|---|"]
        + [f"| `{name}` | {one['description']} |" for name, one in call["secrets"].items()],
        "outputs": ["| output | meaning |", "|---|---|"]
        + [f"| `{name}` | {one['description']} |" for name, one in call["outputs"].items()],
    }
    for name, lines in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        after = rest.partition("<!-- end -->")[2]
        text = before + start + "\n".join(lines) + "\n<!-- end -->" + after
    return text


def _value(value: object) -> str:
    return "" if value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{DOCUMENT.relative_to(ROOT)}\n")
