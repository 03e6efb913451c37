"""What planning is told: what a person asks for, and what is known about each project."""

from collections.abc import Collection, Mapping

from thebes.config import Config
from thebes.model import Discovery, Skip, Value


class Choice(Value, frozen=True, kw_only=True):
    """What the person asks for, over what is configured. `gates` empty: all. `skips`: gates that the change at hand
    does not concern, and why. `coverage`: measure it everywhere. `modules`, `speeds`, `failed`: the part of the tests
    that is meant; `existing`: those of the modules that are paths here. `collect`: collect, and run nothing.
    `services`: versions by name, wherever a gate asks for that service. `alike`: all tasks run on one machine,
    whatever runners are configured."""

    gates: tuple[str, ...] = ()
    shards: int | None = None
    target: float | None = None
    pythons: tuple[str, ...] = ()
    skips: tuple[Skip, ...] = ()
    coverage: bool = False
    modules: tuple[str, ...] = ()
    existing: frozenset[str] = frozenset()
    speeds: tuple[str, ...] = ()
    failed: bool = False
    collect: bool = False
    services: dict[str, tuple[str, ...]] = {}
    alike: bool = False

    @property
    def narrowing(self) -> tuple[str, ...]:
        """The options that ask for a part of the tests, as typed."""
        named = [("--module", self.modules), ("--speed", self.speeds)]
        return (*(f"{option} {one}" for option, given in named for one in given), *(("--failed",) * self.failed))


class Shared(Value, frozen=True, kw_only=True):
    """A costly fixture that serves several tests: `seconds` to set it up, once in each process that runs one of them.
    `users`: by file key, the tests' node ids without it; None: all of the file."""

    seconds: float
    users: Mapping[str, tuple[str, ...] | None]


class Past(Value, frozen=True, kw_only=True):
    """What past runs of a project say.

    `runs`: durations by node id, oldest first. `overheads`: by file, the seconds that importing it and setting up the
    fixtures its tests share take, once in each shard that has a piece of it; but for those that are costly and
    `shared`, by name. `start`: seconds that a shard takes
    beside these; `job_start`: that its job takes before. `groups`: by node id, what a test wants to share a shard
    with. `worker_memory`: the most that a worker was seen to use, in bytes; 0: unknown. `left_out`: for each of
    `runs`, tests that it was not to run or that did not come to
    an end. `failed`: tests, and keys of files, that failed when they last ran. `empty`: files in which no test was
    found. `unstable`: files whose tests differed between processes, so that they can't be cut. `cores`: by suite, the
    one of coverage.py's that is to measure it. Files have the names that they have now.
    """

    runs: tuple[Mapping[str, float], ...] = ()
    overheads: Mapping[str, float] = {}
    shared: Mapping[str, Shared] = {}
    start: float = 0.0
    job_start: float | None = None
    groups: Mapping[str, str] = {}
    worker_memory: int = 0
    left_out: tuple[Collection[str], ...] = ()
    failed: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    unstable: frozenset[str] = frozenset()
    cores: Mapping[str, str] = {}


class ProjectInput(Past, frozen=True, kw_only=True):
    """All that planning needs to know about one project. `path` is relative to the repository.

    `marked`: for each gate that only a marker tells apart, what a full collection with that marker found.
    """

    path: str
    rootdir: str
    inipath: str | None
    config: Config
    discovery: Discovery
    args: tuple[str, ...] = ()
    marked: dict[str, Discovery] = {}
