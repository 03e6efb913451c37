"""plan.json."""

from enum import StrEnum

from .base import FORMAT, Value


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
    """Project × gate × Python × service versions. `core`: the one of coverage.py's that is to measure, where the
    project leaves that open; empty: coverage.py's own choice."""

    id: str
    project: str
    gate: str
    python: str
    services: dict[str, str] = {}
    marker: str | None = None
    coverage: bool = False
    core: str = ""


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
