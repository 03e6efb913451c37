"""The tables of `[tool.thebes]`: which keys there are, and what stands where nothing is said."""

import datetime as dt
from typing import Literal

import msgspec

Leaks = Literal["none", "report", "fail"]


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of all tables; keys are written with hyphens."""


class GateConfig(Section, frozen=True, kw_only=True):
    """One gate. `paths` are folders or files it claims; `marker` narrows what runs; `checks` are commands;
    `test_limit` and `leaks` win over the project's. `services`: names, or versions by name; each combination of
    versions is a suite of its own. `changes`: globs of files; a change of none of them skips the gate."""

    paths: tuple[str, ...] = ()
    marker: str | None = None
    coverage: float | None = None
    changed_coverage: float | None = None
    checks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    test_limit: str | None = None
    leaks: Leaks | None = None
    services: tuple[str, ...] | dict[str, tuple[str, ...]] = ()


class ServiceConfig(Section, frozen=True, kw_only=True):
    """A service: one that ships, adjusted, or one from a compose file. See docs/services.md."""

    sources: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    limit: str = "60s"
    image: str | None = None
    compose: str | None = None
    service: str | None = None
    port: int | None = None
    url: str | None = None


class PlanConfig(Section, frozen=True, kw_only=True):
    """What the planner keeps in one piece. `whole`: files that are never cut. `together`: "class" and "module" are
    never cut; a glob's files share a shard, and so do the tests with a marker, "@name". `serial`: files that run
    alone. `runner_speeds`: of the machines, the first shard for the first; 1 is the one that took the timings."""

    whole: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    runner_speeds: tuple[float, ...] = ()


class Quarantine(Section, frozen=True, kw_only=True):
    """A test that cannot fail its gate until `expires`. `test` is a node id, or its part before `[`."""

    test: str
    owner: str
    expires: dt.date
    reason: str = ""


class Baseline(Section, frozen=True, kw_only=True):
    """Findings that are known and do not fail a check until `expires`: those of `rule` in files that `file`, a glob,
    matches; findings without a file are matched by an empty one."""

    rule: str
    file: str
    owner: str
    expires: dt.date
    reason: str = ""


class Profile(Section, frozen=True, kw_only=True):
    """A named set of defaults for options of `thebes run`: each key is an option's name, each value what would be
    typed after it. `args`: pytest arguments, before those that are typed."""

    gate: tuple[str, ...] = ()
    module: tuple[str, ...] = ()
    speed: tuple[str, ...] = ()
    failed: bool | None = None
    collect: bool | None = None
    python: tuple[str, ...] = ()
    shards: int | None = None
    target: str | None = None
    parallel: int | None = None
    workers: str | None = None
    jobs: int | None = None
    maxfail: int | None = None
    task_limit: str | None = None
    test_limit: str | None = None
    default_test_limit: str | None = None
    memory_limit: str | None = None
    measure_memory: bool | None = None
    isolate: Literal["module", "test"] | None = None
    leaks: Leaks | None = None
    coverage: bool | None = None
    foreground: bool | None = None
    times: bool | None = None
    flame: bool | None = None
    args: tuple[str, ...] = ()


class Config(Section, frozen=True, kw_only=True):
    """Everything that can be configured. Durations stand as in `target = "2m"`. `labels`: of pull requests, each with
    globs of the changed files that earn it."""

    python: tuple[str, ...] = ()
    interpreter: str | None = None
    projects: tuple[str, ...] = (".",)
    args: tuple[str, ...] = ()
    shards: int | None = None
    max_shards: int = 32
    target: str | None = None
    job_start: str | None = None
    workers: str | None = None
    task_limit: str = "2h"
    test_limit: str | None = None
    collect_limit: str | None = None
    memory_limit: str | None = None
    task_memory_limit: str | None = None
    measure_memory: bool = False
    isolate: Literal["module", "test"] | None = None
    leaks: Leaks | None = None
    speed_classes: tuple[str, str] = ("100ms", "1s")
    profiles: dict[str, Profile] = {}
    required_gates: tuple[str, ...] = ()
    gates: dict[str, GateConfig] = {}
    services: dict[str, ServiceConfig] = {}
    quarantine: tuple[Quarantine, ...] = ()
    baseline: tuple[Baseline, ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    history: str | None = None
    plan: PlanConfig = PlanConfig()
    max_tasks: int = 256
    price_per_minute: float | None = None
