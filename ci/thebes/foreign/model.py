"""What foreign results are read into."""

from thebes.model import Finding, Value


class Case(Value, frozen=True, kw_only=True):
    """A test case of a JUnit file.

    `suite` is the path of the names of the suites around it. `outcome`: passed, failed, error, skipped or xfailed.
    `failures` are the messages of attempts that were followed by another one; a case that passed after such is
    flaky. `file` and `line` are as the tool wrote them, empty and 0 where it did not. Texts are cut in the middle
    where they are long.
    """

    suite: str
    classname: str
    name: str
    outcome: str
    seconds: float = 0.0
    file: str = ""
    line: int = 0
    kind: str = ""
    message: str = ""
    text: str = ""
    output: str = ""
    failures: tuple[str, ...] = ()

    @property
    def flaky(self) -> bool:
        return bool(self.failures) and self.outcome == "passed"


class Sarif(Value, frozen=True, kw_only=True):
    """What one or more tools found. `failed` says which tool did not come to its own end: its silence proves nothing.
    `suppressed` counts findings that somebody accepted."""

    tools: tuple[str, ...]
    findings: tuple[Finding, ...]
    suppressed: int = 0
    failed: tuple[str, ...] = ()


class Benchmark(Value, frozen=True, kw_only=True):
    """A measurement of pytest-benchmark. All times in seconds; `samples` are empty unless they were saved."""

    id: str
    group: str
    minimum: float
    median: float
    mean: float
    deviation: float
    rounds: int
    samples: tuple[float, ...] = ()


class FileCoverage(Value, frozen=True, kw_only=True):
    """Coverage of a source file: how often each line ran; and for lines with branches how many of how many were
    taken. A file may come several times, once for each class in it."""

    path: str
    lines: dict[int, int]
    branches: dict[int, tuple[int, int]]
