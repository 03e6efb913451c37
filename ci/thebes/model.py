"""The values that stages hand to one another. Frozen, without behaviour beyond what follows from the fields.

All durations are seconds, all times seconds since the epoch. `FORMAT` is the version of every file format that
is built from these types; a file of another version is refused.
"""

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

FORMAT = 1

GATES = ("unit", "contract", "security", "database", "integration", "performance", "quality")
DEFAULT_GATE = "unit"
WAVES = {
    "unit": 1,
    "contract": 2,
    "security": 2,
    "database": 2,
    "quality": 2,
    "integration": 3,
    "performance": 4,
}


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all values: immutable, named fields only, unknown keys refused when decoded."""


# ---------------------------------------------------------------------------------------------- discovery


class TestFile(Value, frozen=True, kw_only=True):
    """A file that pytest would collect: its key (node id before the first `::`) and its path in the project."""

    __test__: ClassVar[bool] = False

    key: str
    path: str


class Options(Value, frozen=True, kw_only=True):
    """What the project's own configuration says about running, as pytest understood it. `markers`: declared ones."""

    workers: str | None = None
    dist: str = "no"
    coverage: bool = False
    fail_under: float | None = None
    marker: str = ""
    keyword: str = ""
    maxfail: int = 0
    reruns: int = 0
    markers: tuple[str, ...] = ()


class Discovery(Value, frozen=True, kw_only=True):
    """The test files of one project. `collected` is true where only a full collection could tell; then `tests`
    has the node ids by file, those that the project's own configuration deselects left out."""

    rootdir: str
    inipath: str | None
    python: str
    pytest: str
    plugins: dict[str, str]
    options: Options
    files: tuple[TestFile, ...]
    collected: bool = False
    tests: dict[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------------------------------------- plan.json


class TaskKind(StrEnum):
    PYTEST = "pytest"
    CHECK = "check"
    MIGRATION = "migration"
    PERFORMANCE = "performance"
    SOAK = "soak"


class Piece(Value, frozen=True, kw_only=True):
    """A test file given to a shard: whole (`tests` is null), or the named tests of it."""

    file: str
    tests: tuple[str, ...] | None = None


class Speeds(Value, frozen=True, kw_only=True):
    """Tests by how long past runs say that they take, for `-m`. `names`: the markers for fast, medium and slow;
    `medium` and `slow`: node ids; every other test is fast."""

    names: tuple[str, str, str]
    medium: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()


class Project(Value, frozen=True, kw_only=True):
    """A folder with its own pytest root. Paths are relative to the repository; `claims` maps gate → folders.
    `measured`: its own options measure coverage; `fail_under`: what they demand of the total, in percent;
    `parallel`: they start xdist workers; `dist`: how these share the work. `grouped`: past runs know groups of tests
    that belong together. `worker_memory`: the most bytes that a worker used in past runs; 0: unknown. `together`: what
    stays in one shard although no past run knows it: "class", "@marker". `speeds`: only where a marker expression asks
    for them. `only`: node ids, and keys of files, that alone are run; null: all."""

    path: str
    rootdir: str
    inipath: str | None
    args: tuple[str, ...] = ()
    claims: dict[str, tuple[str, ...]] = {}
    measured: bool = False
    fail_under: float | None = None
    parallel: bool = False
    dist: str = "no"
    grouped: bool = False
    worker_memory: int = 0
    together: tuple[str, ...] = ()
    speeds: Speeds | None = None
    only: tuple[str, ...] | None = None


class Suite(Value, frozen=True, kw_only=True):
    """Project × gate × Python × service versions."""

    id: str
    project: str
    gate: str
    python: str
    services: dict[str, str] = {}
    marker: str | None = None
    coverage: bool = False


class Task(Value, frozen=True, kw_only=True):
    """One job's worth of work of one suite. A pytest task is shard `index` (from 1) of `of`; one that is `alone`
    has no workers, and nothing else runs on its machine meanwhile. `speed`: of the machine that it is meant for,
    which `estimate` counts in."""

    id: str
    suite: str
    kind: TaskKind
    wave: int
    estimate: float
    index: int = 1
    of: int = 1
    pieces: tuple[Piece, ...] = ()
    command: tuple[str, ...] = ()
    alone: bool = False
    speed: float = 1.0


class Skip(Value, frozen=True, kw_only=True):
    """A gate, or part of one, that was left out on purpose."""

    gate: str
    reason: str


class Plan(Value, frozen=True, kw_only=True):
    """What will run. `digest` is of everything else in it; the same input gives the same bytes. `narrowed`: options
    that ask for a part of the tests; then only files of the plan are run. `collect`: no test is run, all are collected.
    """

    schema: int = FORMAT
    commit: str
    digest: str = ""
    projects: tuple[Project, ...] = ()
    suites: tuple[Suite, ...]
    tasks: tuple[Task, ...]
    skips: tuple[Skip, ...] = ()
    narrowed: tuple[str, ...] = ()
    collect: bool = False


# ---------------------------------------------------------------------------------------------- record


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


# ---------------------------------------------------------------------------------------------- verdict.json


class VerdictKind(StrEnum):
    PASS = "PASS"  # noqa: S105  (the word, not a secret)
    FAIL = "FAIL"
    INVALID = "INVALID"


class Reason(Value, frozen=True, kw_only=True):
    """Why a verdict is not PASS, or what should be known about one that is. `subjects` name the culprits."""

    code: str
    verdict: VerdictKind
    text: str
    subjects: tuple[str, ...] = ()
    more: int = 0


class GateVerdict(Value, frozen=True, kw_only=True):
    """`absent`: nothing is configured for the gate. `counts`: tests by outcome, and `flaky`."""

    verdict: VerdictKind | None
    absent: bool = False
    reasons: tuple[Reason, ...] = ()
    counts: dict[str, int] = {}
    coverage: float | None = None
    changed_coverage: float | None = None


class Verdict(Value, frozen=True, kw_only=True):
    schema: int = FORMAT
    plan: str
    commit: str
    verdict: VerdictKind
    gates: dict[str, GateVerdict]
    reasons: tuple[Reason, ...] = ()
    notices: tuple[Reason, ...] = ()


JsonObject = dict[str, Any]
