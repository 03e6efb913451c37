"""Results of other tools: each dialect as it is written, and each way in which a file can be hostile."""

import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thebes.errors import FormatError
from thebes.foreign import Case, benchmarks, cobertura, junit, sarif
from thebes.merge.results import Given, _names

JEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="jest tests" tests="3" failures="1" errors="0" time="1.382">
  <testsuite name="cart" errors="0" failures="1" skipped="1" timestamp="2026-11-01T10:00:00" time="0.9" tests="3">
    <testcase classname="cart adds" name="cart adds" time="0.005" file="src/cart.test.js"></testcase>
    <testcase classname="cart removes" name="cart removes" time="0.007" file="src/cart.test.js">
      <failure>Error: \x1b[2mexpect(\x1b[22mreceived\x1b[2m)\x1b[22m.toBe(2)
    at Object.&lt;anonymous&gt; (src/cart.test.js:8:20)</failure>
    </testcase>
    <testcase classname="cart later" name="cart later" time="0"><skipped/></testcase>
  </testsuite>
</testsuites>"""

SUREFIRE = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0" name="com.acme.CartTest"
  time="1,234.567" tests="4" errors="1" skipped="1" failures="0">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="adds{int}[1]" classname="com.acme.CartTest" time="1,200.5"/>
  <testcase name="breaks" classname="com.acme.CartTest" time="0.1">
    <error message="no cart" type="java.lang.IllegalStateException"><![CDATA[java.lang.IllegalStateException: no cart
\tat com.acme.Cart.add(Cart.java:7)]]></error>
    <system-out><![CDATA[adding]]></system-out>
  </testcase>
  <testcase name="waits" classname="com.acme.CartTest" time="0"><skipped message="not now"/></testcase>
  <testcase name="wobbles" classname="com.acme.CartTest" time="0.2">
    <flakyFailure message="first" type="java.lang.AssertionError"><stackTrace>at A</stackTrace></flakyFailure>
  </testcase>
</testsuite>"""

GOTESTSUM = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="0" time="0.412">
	<testsuite tests="3" failures="1" time="0.004000" name="example.com/cart" timestamp="2026-11-01T10:00:00Z">
		<properties><property name="go.version" value="go1.26"></property></properties>
		<testcase classname="example.com/cart" name="TestAdd/two_items" time="0.001000"></testcase>
		<testcase classname="example.com/cart" name="TestRemove" time="0.002000">
			<failure message="Failed" type="">=== RUN   TestRemove&#xA;    cart_test.go:12: got 1&#xA;</failure>
		</testcase>
		<testcase classname="example.com/cart" name="TestLater" time="0.000000">
			<skipped message="=== RUN   TestLater&#xA;    cart_test.go:20: later&#xA;"></skipped>
		</testcase>
	</testsuite>
</testsuites>"""


def read(text: str | bytes) -> list[Case]:
    return list(junit(io.BytesIO(text.encode() if isinstance(text, str) else text), "r.xml"))


def intact(data: bytes) -> tuple[list[Case], str]:
    """The cases before whatever is wrong, and what that is."""
    cases: list[Case] = []
    try:
        cases.extend(_each(data, cases))
    except FormatError as error:
        return cases, str(error)
    return cases, ""


def _each(data: bytes, cases: list[Case]) -> list[Case]:
    for case in junit(io.BytesIO(data), "r.xml"):
        cases.append(case)  # noqa: PERF402  (what came before an error counts)
    return []


def test_pytest_as_it_writes_today(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_ok(): pass\n"
        "def test_bad():\n    print('said')\n    assert 1 == 2\n"
        "@pytest.mark.xfail(reason='known')\ndef test_x(): assert 0\n"
        "@pytest.mark.skip(reason='later')\ndef test_s(): pass\n"
        "@pytest.fixture\ndef broken(): raise ValueError('no')\n"
        "def test_e(broken): pass\n"
        "@pytest.mark.parametrize('p', ['\\x1b[31m', '<&>', ']]>'])\nclass TestC:\n    def test_p(self, p): pass\n",
        "utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junitxml=r.xml",
        "-o",
        "junit_logging=all",
    ]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    with (tmp_path / "r.xml").open("rb") as stream:
        cases = {case.name: case for case in junit(stream, "r.xml")}
    outcomes = {name: case.outcome for name, case in cases.items() if "[" not in name}
    assert outcomes == {
        "test_ok": "passed",
        "test_bad": "failed",
        "test_x": "xfailed",
        "test_s": "skipped",
        "test_e": "error",
    }
    assert sum(case.classname == "test_it.TestC" for case in cases.values()) == 3
    assert cases["test_bad"].message == "assert 1 == 2"
    assert "said" in cases["test_bad"].output
    assert cases["test_s"].message == "later"


def test_jest() -> None:
    added, removed, later = read(JEST)
    assert (added.name, added.outcome, added.file) == ("cart adds", "passed", "src/cart.test.js")
    assert removed.outcome == "failed"
    assert removed.message == "Error: ?[2mexpect(?[22mreceived?[2m)?[22m.toBe(2)"
    assert "src/cart.test.js:8:20" in removed.text
    assert later.outcome == "skipped"


def test_surefire() -> None:
    added, broken, waits, wobbles = read(SUREFIRE)
    assert (added.suite, added.name, added.seconds) == ("com.acme.CartTest", "adds{int}[1]", 1200.5)
    assert (broken.outcome, broken.kind, broken.message) == ("error", "java.lang.IllegalStateException", "no cart")
    assert broken.output == "adding"
    assert waits.message == "not now"
    assert wobbles.flaky
    assert wobbles.failures == ("first",)


def test_gotestsum() -> None:
    added, removed, later = read(GOTESTSUM)
    assert (added.name, added.outcome) == ("TestAdd/two_items", "passed")
    assert (removed.outcome, removed.message) == ("failed", "Failed")
    assert "cart_test.go:12: got 1" in removed.text
    assert (later.outcome, later.message.splitlines()[1].strip()) == ("skipped", "cart_test.go:20: later")


@pytest.mark.parametrize("text", [JEST, SUREFIRE, GOTESTSUM], ids=["jest", "surefire", "gotestsum"])
def test_a_file_cut_anywhere_gives_its_whole_cases_and_is_named(text: str) -> None:
    data = text.encode()
    whole = read(data)
    for end in range(0, len(data), 7):
        cases, problem = intact(data[:end])
        assert cases == whole[: len(cases)]
        assert len(cases) == data[:end].count(b"</testcase>") + data[:end].count(b'"1,200.5"/>')
        assert problem.startswith("r.xml: ")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("<!DOCTYPE t [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]>", "DOCTYPE"),
        ("<!DOCTYPE t SYSTEM 'file:///etc/passwd'>", "DOCTYPE"),
        ("<!DOCTYPE t [<!ENTITY % p SYSTEM 'http://e.com/'> %p;]>", "DOCTYPE"),
    ],
)
def test_a_doctype_is_refused(head: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read(f"{head}<testsuite><testcase name='a'/></testsuite>")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not XML",
        "<html><body/></html>",
        "<testsuite><testcase name='&undefined;'/></testsuite>",
        '<?xml version="1.0" encoding="utf-8"?><testsuite name="\xff"/>'.encode("latin-1"),
        '<?xml version="1.0" encoding="klingon"?><testsuite/>',
        "<testsuite>" * 100_000,
        "<testsuite tests='3' failures='2'><testcase name='a'/></testsuite>",
    ],
    ids=["empty", "text", "html", "entity", "bytes", "encoding", "deep", "hidden failures"],
)
def test_what_is_no_honest_junit_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read(text)
    assert len(str(caught.value).splitlines()) == 1


def test_a_failure_beside_the_cases_is_one() -> None:
    (case,) = read("<testsuite name='s' errors='1'><error message='could not start'/></testsuite>")
    assert (case.name, case.outcome, case.message) == ("s", "error", "could not start")


def test_other_encodings_are_read() -> None:
    text = '<?xml version="1.0" encoding="{}"?><testsuite><testcase name="Prüfung"/></testsuite>'
    for encoding in ("utf-8", "latin-1", "windows-1252", "utf-16"):
        assert read(text.format(encoding).encode(encoding))[0].name == "Prüfung"


def test_forbidden_characters_become_visible_wherever_the_parts_end() -> None:
    body = "a\x00b&#27;c&#x1b;d&#0;e&#10;f&amp;"
    for pad in range(262_100, 262_160, 3):
        text = f"<testsuite><!--{'x' * pad}--><testcase name='a'><failure>{body}</failure></testcase></testsuite>"
        assert read(text)[0].text == "a?b?c?d?e\nf&"


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"<failure>", b"x" * 1_000_000),
        (b"", b"<system-out>" + b"x" * 100_000 + b"</system-out>"),
        (b"", b"<rerunFailure message='m'>" + b"x" * 10_000 + b"</rerunFailure>"),
        (b"", b"<failure message='" + b"m" * 100_000 + b"'/>"),
    ],
    ids=["text", "outputs", "attempts", "failures"],
)
def test_memory_is_bounded_whatever_a_case_holds(head: bytes, part: bytes) -> None:
    endless = _Endless(b"<testsuite><testcase name='a'>" + head, part, 40_000_000 // len(part), b"</testcase>")
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"mismatched tag|no element found"):
        assert all(len(case.text) + len(case.output) < 200_000 for case in junit(io.BufferedReader(endless), "r.xml"))
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_a_tag_without_an_end_is_refused() -> None:
    with pytest.raises(FormatError, match="a tag of more than 8 MiB"):
        list(junit(io.BufferedReader(_Endless(b"<testsuite name='", b"x" * 1_000_000, 200, b"'/>")), "r.xml"))


@pytest.mark.parametrize("file", [".", "/", "..", ".py", "a/.b/c", "tests/test_a.py"])
def test_a_case_has_an_id_whatever_its_file_is_called(file: str, tmp_path: Path) -> None:
    place = Given("s", "t", 1, tmp_path / "r.xml")
    (case,) = read(f"<testsuite><testcase file='{file}' classname='tests.test_a' name='n'/></testsuite>")
    inner = "" if file.startswith("tests") else "::tests.test_a"
    assert _names(case, place) == (file, f"{file}{inner}::n")


def test_very_many_cases_without_names() -> None:
    stream = io.BufferedReader(_Endless(b"<testsuite>", b"<testcase/>" * 10_000, 30, b"</testsuite>"))
    assert sum(case.name == "" for case in junit(stream, "r.xml")) == 300_000


@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_break_the_reader(noise: bytes, at: int) -> None:
    data = GOTESTSUM.encode()
    cases, problem = intact(data[:at] + noise + data[at:])
    assert len(problem.splitlines()) <= 1
    assert all(case.outcome for case in cases)


class _Endless(io.RawIOBase):
    """A head, a part many times, a tail: larger than what should be in memory."""

    def __init__(self, head: bytes, part: bytes, times: int, tail: bytes) -> None:
        self._parts = iter([head, *[part] * times, tail])
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._parts, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


# ------------------------------------------------------------------------------------------------ other formats

COBERTURA = """<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage version="7.11" line-rate="0.5"><sources><source>/home/me/app</source></sources>
<packages><package name="."><classes><class name="a.py" filename="src/a.py" line-rate="0.5">
<methods><method><lines><line number="3" hits="1"/></lines></method></methods>
<lines><line number="1" hits="2"/><line number="3" hits="1" branch="true" condition-coverage="50% (1/2)"/>
<line number="4" hits="0"/><line number="-5" hits="1"/></lines></class></classes></package></packages></coverage>"""


def test_cobertura() -> None:
    (file,) = cobertura(io.BytesIO(COBERTURA.encode()), "c.xml")
    assert (file.path, file.lines, file.branches) == ("src/a.py", {1: 2, 3: 1, 4: 0}, {3: (1, 2)})
    with pytest.raises(FormatError, match="DOCTYPE"):
        list(cobertura(io.BytesIO(b"<!DOCTYPE c [<!ENTITY a 'x'>]><coverage/>"), "c.xml"))
    with pytest.raises(FormatError, match="the entity 'nbsp' is not defined"):
        list(cobertura(io.BytesIO(COBERTURA.replace("/home/me", "&nbsp;").encode()), "c.xml"))


def test_sarif() -> None:
    place = {"physicalLocation": {"artifactLocation": {"uri": "src/my%20app.py"}, "region": {"startLine": 7}}}
    rules = [{"id": "B1", "defaultConfiguration": {"level": "error"}, "messageStrings": {"m": {"text": "do not {0}"}}}]
    results = [
        {"ruleId": "B1", "message": {"id": "m", "arguments": ["eval"]}, "locations": [place]},
        {"ruleId": "B2", "level": "note", "message": {"text": "hm"}},
        {"ruleId": "B1", "kind": "pass", "message": {"text": "fine"}},
        {"ruleId": "B1", "message": {"text": "known"}, "suppressions": [{"kind": "inSource"}]},
        {"ruleId": "B1", "message": {"text": "asked"}, "suppressions": [{"kind": "external", "status": "underReview"}]},
        "nonsense",
    ]
    run = {"tool": {"driver": {"name": "bandit", "rules": rules}}, "results": results}
    broken = {"tool": {"driver": {"name": "scan"}}, "invocations": [{"executionSuccessful": False}]}
    report = sarif(json.dumps({"version": "2.1.0", "runs": [run, broken]}).encode(), "s.sarif")
    found = [(f.file, f.line, f.rule, f.severity, f.text) for f in report.findings]
    assert found == [
        ("src/my app.py", 7, "B1", "error", "do not eval"),
        ("", 0, "B2", "note", "hm"),
        ("", 0, "B1", "error", "asked"),
    ]
    assert (report.suppressed, report.failed, report.tools) == (1, ("scan",), ("bandit", "scan"))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"runs": 3}', b"\xff", b"[" * 100_000])
def test_what_is_no_sarif_or_benchmark_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"^s\.json: "):
        sarif(data, "s.json")
    with pytest.raises(FormatError, match=r"^s\.json: "):
        benchmarks(data, "s.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@given(values, values, values)
def test_odd_sarif_is_taken_as_far_as_it_goes(message: object, locations: object, tool: object) -> None:
    result = {"message": message, "locations": locations, "ruleIndex": message, "suppressions": locations}
    data = json.dumps({"runs": [{"tool": tool, "results": [result]}, tool]}, default=str).encode("utf-8", "replace")
    assert len(sarif(data, "s").findings) <= 1


def test_pytest_benchmark() -> None:
    stats = {
        "min": 0.1,
        "max": 0.3,
        "mean": 0.2,
        "stddev": 0.05,
        "median": 0.2,
        "rounds": 3,
        "iqr": 0.1,
        "data": [0.1, 0.2, 0.3],
    }
    entry = {"group": None, "name": "test_q", "fullname": "tests/test_q.py::test_q", "params": None, "stats": stats}
    data = json.dumps({"machine_info": {}, "benchmarks": [entry], "version": "5.1.0"}).encode()
    (one,) = benchmarks(data, "b.json")
    assert (one.id, one.minimum, one.median, one.rounds, one.samples) == (
        "tests/test_q.py::test_q",
        0.1,
        0.2,
        3,
        (0.1, 0.2, 0.3),
    )
