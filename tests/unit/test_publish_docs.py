"""The documentation and the code name the same things."""

import json
import re
from pathlib import Path

import pytest

from browser.runs import Run
from thebes import publish
from thebes.judge.reasons import REASONS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_reason_has_its_section_and_no_other_has() -> None:
    text = (DOCS / "reasons.md").read_text("utf-8")
    assert sorted(re.findall(r"^### (\S+)$", text, re.MULTILINE)) == sorted(REASONS)


@pytest.mark.parametrize("name", ["report.md", "reasons.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    for file, anchor in re.findall(r"\]\(([\w.]*)(?:#([\w-]+))?\)", text):
        target = (DOCS / (file or name)).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", target, re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_the_table_of_json_is_complete() -> None:
    run = Run()
    run.test("tests/test_a.py::test_a")
    run.add("finding", "t", "a.py", 1, "E1", "error", "text")
    run.problem("record-cut", "t", "text")
    run.coverage("", 90.0)
    run.add("benchmark", "s", "t", "tests/test_a.py::test_a", "", 0.1, 0.2, 0.2, 0.01, 5)
    run.add("skip", "database", "no server")
    run.file("tests/test_a.py", "collected", "")
    document = json.loads(b"".join(publish.as_json(run.db, run.verdict())))
    table = {
        key: set(re.findall(r"`(\w+)`", value))
        for keys, value in re.findall(r"^\| (`.+?) \| (.+) \|$", (DOCS / "report.md").read_text("utf-8"), re.MULTILINE)
        for key in re.findall(r"`(\w+)`", keys)
    }
    assert set(document) <= set(table)
    for key in ("tests", "files", "tasks", "suites", "problems", "findings", "coverage", "benchmarks", "skips"):
        assert set(document[key][0]) == table[key], key
