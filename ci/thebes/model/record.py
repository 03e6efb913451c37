"""record.jsonl: the kinds of its lines."""

from enum import StrEnum

from .base import Value


class Outcome(StrEnum):
    """How one attempt of a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    CRASHED = "crashed"


class Line(Value, frozen=True, tag_field="kind", kw_only=True):
    """Base of the lines of a record."""


class Header(Line, frozen=True, tag="header", kw_only=True):
    """First line, written before anything runs. `waited`: seconds that the job took before it came to the task
    (checkout, installing); 0 where nobody said when it began."""

    schema: int
    plan: str
    task: str
    attempt: int
    commit: str
    at: float
    environment: dict[str, str] = {}
    waited: float = 0.0


class Session(Line, frozen=True, tag="session", kw_only=True):
    """pytest has been configured, in the process or worker that collects. `maxfail` is what holds in it."""

    python: str
    pytest: str
    rootdir: str
    inipath: str | None
    plugins: dict[str, str]
    worker: str = ""
    maxfail: int = 0


class Measuring(Line, frozen=True, tag="measuring", kw_only=True):
    """Coverage is measured by this `core` of coverage.py's; `cores` would all do, if the project leaves it open.
    `plugin`: where our own plug-in is."""

    core: str
    plugin: str
    cores: tuple[str, ...] = ()


class Shared(Line, frozen=True, tag="shared", kw_only=True):
    """A fixture that serves several tests was set up, and that took long. `test` was the first to need it; `users`: by
    file key, the tests of this process that need it, without the key; None: all that the shard has of the file."""

    fixture: str
    seconds: float
    test: str
    users: dict[str, tuple[str, ...] | None]
    worker: str = ""


class Process(Line, frozen=True, tag="process", kw_only=True):
    """A process began that runs tests: pytest itself, or a worker of xdist."""

    pid: int
    worker: str = ""
    at: float


class Collecting(Line, frozen=True, tag="collecting", kw_only=True):
    """The import of a file begins."""

    file: str
    at: float
    worker: str = ""


class Collected(Line, frozen=True, tag="collected", kw_only=True):
    """A file of this shard was collected. `ids` are all its tests without the file's key, before deselection;
    `own` are the positions of those this shard runs (null: all); `seconds` is the time of import and collection;
    `groups`: position → what the test shares a shard with, for those that have an `xdist_group` or a marker that
    the configuration keeps together."""

    file: str
    ids: tuple[str, ...]
    own: tuple[int, ...] | None = None
    seconds: float = 0.0
    worker: str = ""
    groups: dict[int, str] = {}


class Deselected(Line, frozen=True, tag="deselected", kw_only=True):
    """Tests of this shard that the project's own configuration took out (`-m`, `-k`, a hook)."""

    ids: tuple[str, ...]
    worker: str = ""


class Renamed(Line, frozen=True, tag="renamed", kw_only=True):
    """Tests whose ids a plug-in changed between collection and run (xdist's groups): new id → collected id."""

    ids: dict[str, str]
    worker: str = ""


class FileResult(Line, frozen=True, tag="file", kw_only=True):
    """A file that could not be collected (`failed`) or skipped itself as a whole (`skipped`)."""

    file: str
    outcome: str
    text: str
    worker: str = ""


class Note(Line, frozen=True, tag="note", kw_only=True):
    """Something that must be known when judging: `code` is a reason's code, see the table of reasons."""

    code: str
    text: str
    worker: str = ""


class Start(Line, frozen=True, tag="start", kw_only=True):
    """A test begins. `limit`: the seconds that each attempt may take, set-up and teardown included; 0: no limit."""

    id: str
    at: float
    limit: float = 0.0
    worker: str = ""


class Phase(Line, frozen=True, tag="phase", kw_only=True):
    """A phase that did not plainly pass, as soon as it is known. `line` counts from 1; 0 is unknown."""

    id: str
    when: str
    outcome: str
    text: str = ""
    message: str = ""
    path: str = ""
    line: int = 0
    subtest: str | None = None
    output: dict[str, str] = {}


class End(Line, frozen=True, tag="end", kw_only=True):
    """An attempt of a test ended. `durations` are set-up, call, teardown; `fixtures` is the part of set-up and
    teardown spent in fixtures that serve more than this test; `rerun` says that another attempt follows; `memory` is
    the peak of resident memory and its growth over the test, in bytes, where that was measured."""

    id: str
    outcome: Outcome
    durations: tuple[float, float, float]
    at: float
    fixtures: float = 0.0
    worker: str = ""
    rerun: bool = False
    memory: tuple[int, int] | None = None


class Limit(Line, frozen=True, tag="limit", kw_only=True):
    """A test went over a limit: this attempt of it failed, whatever its end says. `what`: time or memory."""

    id: str
    what: str
    at: float
    worker: str = ""


class Leak(Line, frozen=True, tag="leak", kw_only=True):
    """A test left something behind: `what` is thread, task, loop, process, descriptor, socket, file, variable or
    folder. `fails`: that makes the test an error, whatever its end says."""

    id: str
    what: str
    text: str
    worker: str = ""
    fails: bool = False


class Crash(Line, frozen=True, tag="crash", kw_only=True):
    """A process died. `id` is the test that it was running; empty: none, also where `worker` tells which one died."""

    id: str
    text: str
    worker: str = ""


class Resume(Line, frozen=True, tag="resume", kw_only=True):
    """The pytest session died, and another begins with what is left. `done` tests have ended before."""

    at: float
    done: int


class Sample(Line, frozen=True, tag="sample", kw_only=True):
    """Resources of a process at a moment; memory in bytes, processor time in seconds."""

    at: float
    worker: str
    memory: int
    cpu: float


class Finding(Line, frozen=True, tag="finding", kw_only=True):
    """What a check reports about a place in the source."""

    file: str
    line: int
    rule: str
    severity: str
    text: str


class Benchmark(Line, frozen=True, tag="benchmark", kw_only=True):
    """What pytest-benchmark measured in a test, in seconds a call."""

    id: str
    group: str
    minimum: float
    median: float
    mean: float
    deviation: float
    rounds: int


class Finish(Line, frozen=True, tag="finish", kw_only=True):
    """pytest came to its own end: its exit status, how many tests it selected and why it stopped early."""

    exit: int
    selected: int
    stopped: str | None = None


class Output(Line, frozen=True, tag="output", kw_only=True):
    """The last part of what the process printed; the whole is in `file` beside the record."""

    file: str
    text: str


class Closing(Line, frozen=True, tag="closing", kw_only=True):
    """Last line, written by the parent after its child is gone. Without it the task did not finish."""

    exit: int
    signal: int | None
    stopped: str | None
    lines: int
    at: float
    seconds: float


RecordLine = (
    Header
    | Session
    | Measuring
    | Shared
    | Process
    | Collecting
    | Collected
    | Deselected
    | Renamed
    | FileResult
    | Note
    | Start
    | Phase
    | End
    | Limit
    | Leak
    | Crash
    | Resume
    | Sample
    | Finding
    | Benchmark
    | Finish
    | Output
    | Closing
)
