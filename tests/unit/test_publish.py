"""Every form of the report from small runs whose answers are known."""

import base64
import json
import os
import random
import re
import sys
import zlib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from browser.runs import HOSTILE, ROOT, Run, hostile_run
from thebes import publish

FAILED = "tests/test_a.py::TestA::test_x[1]"


def junit(run: Run, folder: Path) -> ET.Element:
    publish.junit(run.db, folder / "junit.xml")
    return ET.parse(folder / "junit.xml").getroot()  # noqa: S314


def mixed() -> Run:
    run = Run()
    run.test("tests/test_a.py::test_ok")
    run.failing(FAILED, "tests/test_a.py", 7, "assert 1 == 2")
    for outcome in ("skipped", "xfailed", "missing", "interrupted", "cancelled", "crashed", "error"):
        run.test(f"tests/test_a.py::test_{outcome}", outcome)
    run.phase("tests/test_a.py::test_skipped", "skipped", "Skipped: why", "", f"{ROOT}/tests/test_a.py", 3)
    run.file("tests/test_c.py", "failed", "tests/test_c.py:1: in <module>\n    import no\nE   ImportError: no")
    run.check(["ruff", "check"], 1, "a.py:1:1: F401")
    run.check(["mypy"], 0, "")
    run.problem("record-cut", "unit-py3.12-1of1", "the record breaks off")
    return run


def test_junit_names_and_results_are_those_of_pytest(tmp_path: Path) -> None:
    root = junit(mixed(), tmp_path)
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["test_x[1]"].get("classname") == "tests.test_a.TestA"
    assert cases["test_x[1]"].get("time") == "0.253"
    failure = cases["test_x[1]"].find("failure")
    assert failure is not None
    assert failure.get("message") == "assert 1 == 2"
    assert "tests/test_a.py:7: AssertionError" in (failure.text or "")
    assert cases["test_x[1]"].findtext("system-out") == f"output of {FAILED}\n"
    elements = {name: [child.tag for child in case] for name, case in cases.items() if name}
    assert elements["test_ok"] == elements["mypy"] == []
    assert elements["test_skipped"] == elements["test_xfailed"] == elements["test_cancelled"] == ["skipped"]
    for name in ("test_missing", "test_interrupted", "test_crashed", "test_error", "tests.test_c"):
        assert elements[name] == ["error"]
    assert elements["ruff check"] == ["failure"]
    assert elements["unit-py3.12-1of1"] == ["error"]  # the broken record: nobody is green who reads only this


def test_junit_counts_are_right_and_other_readers_agree(tmp_path: Path) -> None:
    root = junit(mixed(), tmp_path)
    for element in (root, *root.iter("testsuite")):
        counted = {
            "tests": len(list(element.iter("testcase"))),
            "failures": len(list(element.iter("failure"))),
            "errors": len(list(element.iter("error"))),
            "skipped": len(list(element.iter("skipped"))),
        }
        assert {name: int(element.get(name) or -1) for name in counted} == counted
    read = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (read.tests, read.failures, read.errors, read.skipped) == (13, 2, 6, 3)


def test_junit_keeps_earlier_attempts(tmp_path: Path) -> None:
    run = Run()
    run.test("t.py::test_flaky", flaky=1)
    run.phase("t.py::test_flaky", "failed", "first time", "trace", decides=0)
    run.test("t.py::test_red", "failed", flaky=1)
    run.phase("t.py::test_red", "failed", "first", "trace", decides=0)
    run.phase("t.py::test_red", "failed", "second", "trace")
    tags = [[child.tag for child in case] for case in junit(run, tmp_path).iter("testcase")]
    assert tags == [["flakyFailure"], ["failure", "rerunFailure"]]


def test_failures_with_one_cause_are_one_group() -> None:
    run = Run()
    for number in range(30):
        run.failing(f"tests/test_a.py::test_{number}", "src/app/db.py", 12, f"assert {number} == 0")
    run.failing("tests/test_b.py::test_other", "src/app/db.py", 99, "assert 1 == 0")
    text = publish.summary(run.db, run.verdict())
    assert text.count("<details") == 2
    assert "<b>30 tests</b> · <code>AssertionError at src/app/db.py:12</code>" in text
    assert "python3.12 -m pytest &#" not in text
    assert "python3.12 -m pytest tests/test_a.py::test_0\n" in text


def test_summary_says_the_verdict_first_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    for number in range(400):
        run.failing(f"tests/test_a.py::test_{number}", "src/app/db.py", number + 1, "x" * 300)
    assert publish.summary(run.db, run.verdict()).startswith("# ❌ FAIL: unit: 400 tests failed\n\n400 tests · ")
    monkeypatch.setattr(sys.modules["thebes.publish.summary"], "LIMIT", 50_000)
    text = publish.summary(run.db, run.verdict())
    assert len(text.encode()) <= 50_000
    shown = text.count("<details")
    assert 10 < shown < 400
    assert f"**{400 - shown:,} more causes with {400 - shown:,} failures did not fit here**" in text
    assert text.count("<details") == text.count("</details>")


def test_places_lie_in_the_repository() -> None:
    run = Run(project="services/api", services='{"postgres":"16"}')
    run.test("tests/test_a.py::test_lib", "failed")
    trace = "tests/test_a.py:3: in test_lib\n    f()\n/usr/lib/python3.12/json/x.py:9: ValueError"
    run.phase("tests/test_a.py::test_lib", "failed", "ValueError: x", trace, "/usr/lib/python3.12/json/x.py", 9)
    command = publish.annotations(run.db, run.verdict(), Path("/repo"))[0]
    assert command.startswith("::error file=services/api/tests/test_a.py,line=3,title=")
    text = publish.summary(run.db, run.verdict())
    assert "cd services/api && python3.12 -m pytest tests/test_a.py::test_lib  # with postgres 16" in text


def test_annotations_are_the_best_ten_of_each_type() -> None:
    run = Run()
    for line in range(1, 21):
        for number in range(line):
            run.failing(f"tests/test_a.py::test_{line}_{number}", "src/app/db.py", line, "assert 0")
    for number in range(20):
        run.test(f"tests/test_f.py::test_{number}", flaky=1)
    run.problem("record-missing", "unit-py3.12-2of2", "no record of it was found")
    commands = publish.annotations(run.db, run.verdict(), Path("/repo"))
    errors = [command for command in commands if command.startswith("::error ")]
    assert len(errors) == 10
    assert "unit-py3.12-2of2" in errors[0]
    assert "file=src/app/db.py,line=20," in errors[1]
    assert "and 19 more" in errors[1]
    assert sum(command.startswith("::warning ") for command in commands) == 10
    assert all(len(command) < 4096 for command in commands)


def test_terminal_tells_gates_reasons_and_places() -> None:
    run = mixed()
    text = publish.terminal(run.verdict(), run.db, color=False, width=80)
    assert "INVALID unit" in text
    assert "✗ 1 test failed [test-failed]" in text
    assert "tests/test_a.py:7: assert 1 == 2" in text
    assert text.splitlines()[-1].startswith("INVALID: unit: 1 record broken off; ")
    assert "\x1b" not in text
    assert "\x1b[31m" in publish.terminal(run.verdict(), run.db, color=True, width=80)


@given(st.integers(0, 200), st.lists(st.sampled_from(HOSTILE), max_size=3))
def test_terminal_keeps_to_the_width(width: int, names: list[str]) -> None:
    run = Run()
    for number, name in enumerate(names):
        run.failing(f"tests/t.py::test_{number}[{name}]", f"src/{name}.py", 3, name)
        run.problem("record-broken", name, name)
    *lines, last = publish.terminal(run.verdict(), run.db, color=False, width=width).splitlines()
    assert max((len(line) for line in lines), default=0) <= max(40, width)
    assert last == publish.one_line(run.verdict(), run.db)


def test_a_crash_shows_the_last_words_of_its_process() -> None:
    run = Run()
    run.test("tests/test_a.py::test_segfault", "crashed")
    run.db.execute("UPDATE task_attempt SET output = 'Fatal Python error: Segmentation fault'")
    run.problem("pytest-died", "tests/test_a.py::test_segfault", "the process ended with signal 11")
    text = publish.summary(run.db, run.verdict())
    assert "the process ended with signal 11" in text
    assert "Fatal Python error: Segmentation fault" in text


@pytest.mark.parametrize("name", ["junit.xml", "summary.md", "report.json", "annotations.txt", "terminal.txt"])
def test_what_scripts_and_people_rely_on_changes_only_on_purpose(name: str, tmp_path: Path) -> None:
    """Golden files; to write them anew: THEBES_GOLDEN=write pytest tests/unit/test_publish.py."""
    run = mixed()
    verdict = run.verdict()
    junit(run, tmp_path)
    made = {
        "junit.xml": lambda: (tmp_path / "junit.xml").read_text("utf-8"),
        "summary.md": lambda: publish.summary(run.db, verdict, report="https://example.org/report.html"),
        "report.json": lambda: json.dumps(json.loads(b"".join(publish.as_json(run.db, verdict))), indent=1) + "\n",
        "annotations.txt": lambda: "\n".join(publish.annotations(run.db, verdict, Path("/repo"))) + "\n",
        "terminal.txt": lambda: publish.terminal(verdict, run.db, color=False, width=80),
    }[name]()
    path = Path(__file__).parents[1] / "golden/publish" / name
    if os.environ.get("THEBES_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made, "utf-8")
    assert made == path.read_text("utf-8")


def test_json_has_every_test_and_every_problem() -> None:
    run = mixed()
    document = json.loads(b"".join(publish.as_json(run.db, run.verdict())))
    assert document["schema"] == 1
    assert document["verdict"] == "INVALID"
    assert document["counts"]["tests"] == len(document["tests"]) == 9
    test = next(test for test in document["tests"] if test["id"] == FAILED)
    assert test == {
        "id": FAILED,
        "suite": "unit-py3.12",
        "gate": "unit",
        "file": "tests/test_a.py",
        "task": "unit-py3.12-1of1",
        "outcome": "failed",
        "duration": 0.253,
        "attempts": 1,
        "flaky": False,
    }
    assert {problem["code"] for problem in document["problems"]} == {"check-failed", "record-cut"}


def test_a_summary_of_hostile_names_has_no_markup_but_ours() -> None:
    run = hostile_run()
    page = MarkdownIt("commonmark").enable("table").render(publish.summary(run.db, run.verdict()))
    tags = set(re.findall(r"<([a-zA-Z!/][^\s>]*)", page))
    ours = {"h1", "h2", "p", "ul", "li", "strong", "b", "code", "pre", "details", "summary"}
    ours |= {"table", "thead", "tbody", "tr", "th", "td"}
    assert {tag.lstrip("/") for tag in tags} <= ours
    assert page.count("<details") == page.count("</details>")


def test_a_page_keeps_its_size_and_says_what_did_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["thebes.publish.payload"], "PAGE", 700_000)
    monkeypatch.setattr(sys.modules["thebes.publish.payload"], "LEAST", 100_000)
    run = Run()
    noise = random.Random(3)  # noqa: S311
    for number in range(600):
        run.failing(f"tests/test_a.py::test_{number}", "src/app/db.py", number // 2, noise.randbytes(4000).hex())
    publish.html(run.db, run.verdict(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert 300_000 < len(page) < 1_000_000
    found = re.search(r'id="failure-data">([^<]+)<', page)
    assert found
    known = json.loads(zlib.decompress(base64.b64decode(found[1])))["failures"]
    shown = [failure[6] is not None for failure in known]
    assert len(known) == 600
    assert shown == sorted(shown, reverse=True)  # the first of every cause before the second of any
    assert 10 < sum(shown) < 600


def test_hostile_names_are_harmless_everywhere(tmp_path: Path) -> None:
    run = hostile_run()
    verdict = run.verdict()
    cases = list(junit(run, tmp_path).iter("testcase"))
    assert len(cases) == 6 * len(HOSTILE)
    assert all(len(line.splitlines()) == 1 for line in publish.annotations(run.db, verdict, Path("/repo")))
    shown = publish.terminal(verdict, run.db, color=False, width=100)
    assert not re.search(r"^\s*::|##\[|\x1b|\u202e", shown, re.MULTILINE)
    publish.html(run.db, verdict, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    json.loads(b"".join(publish.as_json(run.db, verdict)))
