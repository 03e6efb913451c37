"""JUnit XML of any tool: pytest, Jest, Surefire, gotestsum and whoever writes like them."""

import math
from collections.abc import Iterator
from typing import BinaryIO

from thebes.errors import FormatError

from . import xml
from .model import Case

RED = {"failure": "failed", "error": "error"}
EARLIER = {"flakyFailure", "flakyError", "rerunFailure", "rerunError"}
OUTPUT = {"system-out", "system-err"}
NAME = 16 * 1024
NOTHING: tuple[str, dict[str, str], str] = ("", {}, "")  # said of a case
ATTEMPTS = 100  # of one case; of more the last is kept, which decides
NOT_RUN = {"notrun", "disabled", "skipped", "ignored"}


def junit(stream: BinaryIO, source: str) -> Iterator[Case]:
    """The test cases of a JUnit file, as they come. `source` names it in errors.

    FormatError at the end of what is intact: for a file that breaks off, holds a DOCTYPE, is no JUnit, or whose suite
    counts failures that none of its cases shows.
    """
    reader = _Reader(source)
    yield from xml.read(stream, source, reader, reader.ready)
    if not reader.known:
        raise FormatError(f"{source}: no testsuite in it; expected JUnit XML")
    if reader.hidden:
        raise FormatError(f"{source}: {reader.hidden}")


class _Suite:
    __slots__ = ("declared", "name", "red")

    def __init__(self, name: str, declared: int) -> None:
        self.name = name
        self.declared = declared
        self.red = 0


class _Reader(xml.Handlers):
    def __init__(self, source: str) -> None:
        self.source = source
        self.known = False
        self.hidden = ""
        self._suites: list[_Suite] = []
        self._path = ""
        self._case: dict[str, str] | None = None
        self._result: tuple[str, dict[str, str]] | None = None
        self._results: list[tuple[str, dict[str, str], str]] = []
        self._output = xml.Text()
        self._inside = ""
        self._text = xml.Text()
        self._done: list[Case] = []

    def ready(self) -> list[Case]:
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "testcase":
            self._case, self._results = attributes, []
            self._output.take()
        elif name == "testsuite":
            self.known = True
            declared = _count(attributes, "failures") + _count(attributes, "errors")
            self._suites.append(_Suite(attributes.get("name", "")[:NAME], declared))
            self._path = _path(self._suites)
        elif name == "testsuites":
            self.known = True
        elif name in RED or name in EARLIER or name == "skipped":
            self._result = (name, attributes)
            self._inside = name
            self._text.take()
        elif name in OUTPUT and self._result is None:
            self._inside = name
            self._text.take()

    def text(self, text: str) -> None:
        if self._inside:
            self._text.add(text)

    def end(self, name: str) -> None:
        if name == "testcase":
            self._finish_case()
        elif name == "testsuite":
            self._finish_suite()
        elif self._result is not None and name == self._result[0]:
            self._finish_result()
        elif name in OUTPUT and self._inside == name:
            self._inside = ""
            if self._case is not None:
                self._output.add(self._text.take())

    def _finish_result(self) -> None:
        assert self._result is not None  # noqa: S101  (for the type checker)
        name, attributes = self._result
        if len(self._results) >= ATTEMPTS:
            self._results.pop()
        held = {key: text[:NAME] for key, text in attributes.items() if key in {"type", "message"}}
        self._results.append((name, held, self._text.take().strip()))
        self._result, self._inside = None, ""
        if self._case is None and name in RED:
            # Some tools put what broke a whole suite beside its cases.
            self._case = {"name": self._suites[-1].name if self._suites else "", "classname": ""}
            self._finish_case()

    def _finish_case(self) -> None:
        attributes = self._case or {}
        self._case = None
        results = self._results
        red = next((result for result in results if result[0] in RED), None) if results else None
        skipped = next((result for result in results if result[0] == "skipped"), None) if results else None
        shown = red or skipped or NOTHING
        if red:
            for suite in self._suites:
                suite.red += 1
        self._done.append(
            Case(
                suite=self._path,
                classname=attributes.get("classname", "")[:NAME],
                name=attributes.get("name", "")[:NAME],
                outcome=_outcome(shown, attributes),
                seconds=seconds(attributes.get("time", "")),
                file=attributes.get("file", attributes.get("filepath", ""))[:NAME],
                line=_count(attributes, "line", "lineno"),
                kind=shown[1].get("type", ""),
                message=(shown[1].get("message") or shown[2].partition("\n")[0])[:NAME],
                text=shown[2],
                output=self._output.take(),
                failures=tuple(
                    (held.get("message") or text.partition("\n")[0])[:NAME]
                    for name, held, text in results
                    if name in EARLIER
                )
                if results
                else (),
            )
        )
        self._results = []

    def _finish_suite(self) -> None:
        suite = self._suites.pop()
        self._path = _path(self._suites)
        if suite.declared and not suite.red and not self.hidden:
            self.hidden = f"suite {suite.name[:200]!r} counts {suite.declared} failures, its cases show none"


def _path(suites: list[_Suite]) -> str:
    return "/".join(suite.name for suite in suites if suite.name)[:NAME]


def _outcome(shown: tuple[str, dict[str, str], str], attributes: dict[str, str]) -> str:
    name, held, _ = shown
    if name in RED:
        return RED[name]
    if name == "skipped":
        return "xfailed" if held.get("type") == "pytest.xfail" else "skipped"
    if "status" not in attributes and "result" not in attributes:
        return "passed"
    # GoogleTest says it in an attribute.
    told = {attributes.get("status", "").lower(), attributes.get("result", "").lower()}
    return "skipped" if told & NOT_RUN else "failed" if told & {"failed", "failure"} else "passed"


def seconds(text: str) -> float:
    """A duration as tools write it: `1,234.5` (Surefire), `0,5` (some locales). What is no duration is 0."""
    text = text.replace(",", "") if "." in text else text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def _count(attributes: dict[str, str], *names: str) -> int:
    text = next((attributes[name] for name in names if name in attributes), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
