"""JSON Schemas of the file formats, from the types in thebes.model, into docs/formats.

Usage: python tools/generate_formats.py [--check]. With --check nothing is written; the exit code is 1 if a file on
disk is not what the types say.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from thebes.model import FORMAT, Header, Plan, RecordLine, Verdict

FOLDER = Path(__file__).parents[1] / "docs" / "formats"
FORMATS: dict[str, tuple[Any, str]] = {
    "plan": (Plan, "plan.json: what will run."),
    "record": (RecordLine, "One line of record.jsonl, the record of an attempt of a task."),
    "verdict": (Verdict, "verdict.json: the verdict on a run, with its reasons."),
}
VERSIONED = {kind.__name__ for kind in (Plan, Header, Verdict)}


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a format. `schema` must be there, and be of this version."""
    kind, title = FORMATS[name]
    found = msgspec.json.schema(kind)
    for struct in VERSIONED & found["$defs"].keys():
        definition = found["$defs"][struct]
        definition["properties"]["schema"] = {"const": FORMAT}
        definition["required"] = ["schema", *(name for name in definition["required"] if name != "schema")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **found}


def text(name: str) -> str:
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    check = arguments == ["--check"]
    stale = []
    for name in FORMATS:
        path = FOLDER / f"{name}.schema.json"
        if check and (not path.exists() or path.read_text("utf-8") != text(name)):
            stale.append(path.name)
        elif not check:
            path.write_text(text(name), "utf-8")
    if stale:
        sys.stderr.write(f"not what the types say: {', '.join(stale)}; run python tools/generate_formats.py\n")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
