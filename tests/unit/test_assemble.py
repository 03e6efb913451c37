"""The plan of a repository: deterministic, complete, no empty task, ids fit for file and artifact names."""

import random
import re
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thebes.cli.explain import lines
from thebes.codec import encode
from thebes.config import Config, GateConfig, PlanConfig, parse
from thebes.errors import InputError
from thebes.model import Discovery, Options, Plan, TestFile
from thebes.plan import Choice, ProjectInput, assemble, assembled
from thebes.plan.explain import explain
from thebes.plan.groups import matches

files = st.lists(
    st.from_regex(r"tests/(unit/|integration/|)test_[a-z]{1,3}\.py", fullmatch=True), unique=True, min_size=1
)


def project(names: list[str], config: Config, runs: tuple[dict[str, float], ...]) -> ProjectInput:
    found = Discovery(
        rootdir="/r",
        inipath=None,
        python="3.12",
        pytest="9.0.0",
        plugins={},
        options=Options(),
        files=tuple(TestFile(key=name, path=name) for name in names),
    )
    return ProjectInput(path=".", rootdir=".", inipath=None, config=config, discovery=found, runs=runs)


def shuffled(run: dict[str, float], chance: random.Random) -> dict[str, float]:
    return dict(chance.sample(list(run.items()), len(run)))


@settings(deadline=None)
@given(st.data(), files, st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_plan(data: st.DataObject, names: list[str], shards: int, chance: random.Random) -> None:
    tests = st.sampled_from([f"{name}::{test}" for name in names for test in ("test_a", "test_b[1]", "TestC::test_d")])
    runs = tuple(data.draw(st.lists(st.dictionaries(tests, st.floats(0, 100)), max_size=3)))
    config = Config(gates={"quality": GateConfig(checks=("ruff check .", "ruff format .", "ruff check ."))})
    choice = Choice(shards=shards)
    plan = assemble([project(names, config, runs)], choice, "c0ffee")
    other = chance.sample(names, len(names))
    again = assemble([project(other, config, tuple(shuffled(run, chance) for run in runs))], choice, "c0ffee")
    assert encode(again) == encode(plan)
    whole_and_disjoint(plan, names)


def whole_and_disjoint(plan: Plan, names: list[str]) -> None:
    ids = [task.id for task in plan.tasks]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in ids)
    seen: dict[str, list[tuple[str, ...] | None]] = {}
    for task in plan.tasks:
        assert bool(task.pieces) != bool(task.command)
        for piece in task.pieces:
            seen.setdefault(piece.file, []).append(piece.tests)
    assert sorted(seen) == sorted(names)
    for parts in seen.values():
        if None in parts:
            assert parts == [None]
        known = [test for tests in parts for test in tests or ()]
        assert len(set(known)) == len(known)


def test_gates_follow_folders_and_configuration() -> None:
    names = ["tests/unit/test_a.py", "pkg/tests/database/test_b.py", "tests/test_c.py", "slow/test_d.py"]
    config = Config(gates={"performance": GateConfig(paths=("slow",))})
    plan = assemble([project(names, config, ())], Choice(shards=1), "")
    assert {task.suite: [piece.file for piece in task.pieces] for task in plan.tasks} == {
        "unit-py3.12": ["tests/test_c.py", "tests/unit/test_a.py"],
        "database-py3.12": ["pkg/tests/database/test_b.py"],
        "performance-py3.12": ["slow/test_d.py"],
    }
    assert [task.wave for task in plan.tasks] == [1, 2, 4]


def test_the_target_time_sets_the_number_of_shards() -> None:
    names = [f"tests/test_{n}.py" for n in range(20)]
    runs = ({f"{name}::test_it": 30.0 for name in names},)
    plan = assemble([project(names, Config(target="2m", max_shards=4), runs)], Choice(), "")
    assert len(plan.tasks) == 4  # five would be needed
    plan = assemble([project(names, Config(job_start="1s"), runs)], Choice(target=62.0), "")
    assert len(plan.tasks) == 10
    plan = assemble([project(names, Config(job_start="1s"), runs)], Choice(target=60.5), "")
    assert 18 <= len(plan.tasks) <= 20  # beside the start of the job there is no time for two of thirty seconds
    assert max(task.estimate for task in plan.tasks) < 31


def test_no_more_shards_than_shorten_the_longest() -> None:
    runs = ({"a.py::long": 100.0, **{f"b.py::test_{n}": 10.0 for n in range(20)}},)
    plan = assemble([project(["a.py", "b.py"], Config(job_start="1s"), runs)], Choice(target=20.0), "")
    assert len(plan.tasks) < 20
    assert plan.tasks[0].estimate == pytest.approx(100.0, abs=0.1)


def test_all_suites_together_stay_within_the_budget() -> None:
    names = [f"tests/{gate}/test_{n}.py" for gate in ("unit", "integration") for n in range(20)]
    runs = ({f"{name}::test_it": 3.0 if "unit" in name else 1.0 for name in names},)
    config = Config(max_tasks=9, gates={"quality": GateConfig(checks=("ruff check .",))})
    plan = assemble([project(names, config, runs)], Choice(shards=8), "")
    assert Counter(task.suite for task in plan.tasks) == {
        "unit-py3.12": 6,
        "integration-py3.12": 2,
        "quality-py3.12": 1,
    }
    whole_and_disjoint(plan, names)
    with pytest.raises(InputError, match="max-tasks"):
        assemble([project(names, Config(max_tasks=1), runs)], Choice(), "")


def test_an_explanation_tells_what_a_budget_took() -> None:
    names = [f"tests/{gate}/test_{n}.py" for gate in ("unit", "integration") for n in range(20)]
    runs = ({f"{name}::test_it": 3.0 for name in names},)

    def told(choice: Choice) -> list[tuple[int, int, str | None, str]]:
        found = assembled([project(names, Config(max_tasks=9, max_shards=6), runs)], choice, "").suites
        views = [explain(suite, found[suite]) for suite in sorted(found)]
        texts = [next(line.strip() for line in lines(view) if "max-tasks" in line) for view in views]
        return [(view.asked, view.allowed, view.limit, text) for view, text in zip(views, texts, strict=True)]

    assert told(Choice(shards=8)) == [
        (8, 4, "max-tasks", "8 were asked for; max-tasks allows 4"),
        (8, 5, "max-tasks", "8 were asked for; max-tasks allows 5"),
    ]
    (asked, allowed, limit, text), _ = told(Choice(target=22.0))
    assert (asked, allowed, limit) == (9, 4, "max-tasks")  # 60 s of tests, 15 s to start a job
    assert text == (
        "target of 22.0 s, starting the job included: missed by 8.10 s; it takes 9 shards or more; max-tasks allows 4"
    )


def test_what_is_configured_to_stay_together_stays_together() -> None:
    names = ["tests/test_a.py", "tests/db/test_b.py", "tests/db/deep/test_c.py"]
    runs = ({f"{name}::TestC::test_{n}": 1.0 for name in names for n in range(8)},)

    def homes(config: PlanConfig) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for task in assemble([project(names, Config(plan=config), runs)], Choice(shards=6), "").tasks:
            for piece in task.pieces:
                found.setdefault(piece.file, []).append(task.index)
        return found

    assert len(homes(PlanConfig())["tests/test_a.py"]) > 1
    assert all(len(where) == 1 for where in homes(PlanConfig(together=("module",))).values())
    assert all(len(where) == 1 for where in homes(PlanConfig(together=("class",))).values())
    assert len(homes(PlanConfig(whole=("**/test_a.py",)))["tests/test_a.py"]) == 1
    bundled = homes(PlanConfig(together=("tests/db",)))
    assert len(bundled["tests/db/test_b.py"]) == 1
    assert bundled["tests/db/test_b.py"] == bundled["tests/db/deep/test_c.py"]


def test_a_group_of_xdist_shares_a_shard_and_its_name_is_no_part_of_the_id() -> None:
    names = ["tests/test_a.py", "tests/test_b.py"]
    runs = ({f"{name}::test_{n}{'@db' if n < 2 else ''}": 1.0 for name in names for n in range(8)},)
    plan = assemble([project(names, Config(), runs)], Choice(shards=4), "")
    tests = {test: task.index for task in plan.tasks for piece in task.pieces for test in piece.tests or ()}
    assert not any("@" in test for test in tests)
    assert len({tests[f"{name}::test_{n}"] for name in names for n in range(2)}) == 1


@pytest.mark.parametrize(
    ("pattern", "file", "found"),
    [
        ("tests/*.py", "tests/test_a.py", True),
        ("tests/*.py", "tests/deep/test_a.py", False),
        ("tests/**/test_a.py", "tests/test_a.py", True),
        ("tests/**", "tests/deep/er/test_a.py", True),
        ("tests/db/", "tests/db/test_a.py", True),
        ("tests/d", "tests/db/test_a.py", False),
        ("**/test_[a].py", "x/test_[a].py", True),
    ],
)
def test_globs(pattern: str, file: str, found: bool) -> None:  # noqa: FBT001
    assert matches(file, pattern) is found


def test_a_word_that_means_nothing_to_the_planner_is_refused() -> None:
    with pytest.raises(InputError, match="'clas' is neither"):
        parse('[tool.thebes.plan]\ntogether = ["clas"]', "pyproject.toml")
    assert parse('[tool.thebes.plan]\ntogether = ["class", "db/"]', "").plan.together == ("class", "db/")
    for key, glob in {"serial": "./tests/ports", "whole": "@slow", "together": "/tests"}.items():
        with pytest.raises(InputError, match=f"plan.{key}: '{glob}' is no glob of files"):
            parse(f'[tool.thebes.plan]\n{key} = ["{glob}"]', "")


def test_each_combination_of_service_versions_is_a_suite() -> None:
    gate = GateConfig(services={"postgres": ("16", "18"), "redis": ("7",)}, checks=("true",))
    config = Config(gates={"database": gate, "integration": GateConfig(services=("redis",))}, max_tasks=9)
    names = ["tests/database/test_a.py", "tests/database/test_b.py", "tests/integration/test_c.py"]
    plan = assemble([project(names, config, ())], Choice(shards=4, pythons=("3.11", "3.12")), "c0ffee")
    assert {suite.id: suite.services for suite in plan.suites} == {
        "database-py3.11-postgres16-redis7": {"postgres": "16", "redis": "7"},
        "database-py3.11-postgres18-redis7": {"postgres": "18", "redis": "7"},
        "database-py3.12-postgres16-redis7": {"postgres": "16", "redis": "7"},
        "database-py3.12-postgres18-redis7": {"postgres": "18", "redis": "7"},
        "integration-py3.11": {"redis": ""},
        "integration-py3.12": {"redis": ""},
    }
    assert len(plan.tasks) <= 9, "a budget counts every combination"
    assert [task.suite for task in plan.tasks if task.command] == ["database-py3.11-postgres16-redis7"]
    asked = Choice(pythons=("3.11",), services={"redis": ("6", "7"), "postgres": ("17",)})
    assert [suite.id for suite in assemble([project(names, config, ())], asked, "c").suites] == [
        "database-py3.11-postgres17-redis6",
        "database-py3.11-postgres17-redis7",
        "integration-py3.11-redis6",
        "integration-py3.11-redis7",
    ]
    with pytest.raises(InputError, match="services: 'mysql' is asked for by no gate; they ask for postgres, redis"):
        assemble([project(names, config, ())], Choice(services={"mysql": ("8",)}), "c")
    with pytest.raises(InputError, match="max-tasks"):
        assemble(
            [project(names, msgspec.structs.replace(config, max_tasks=6), ())], Choice(pythons=("3.11", "3.12")), "c"
        )


def test_serial_files_are_one_more_task_that_runs_alone() -> None:
    names = ["tests/test_a.py", "tests/test_b.py", "tests/ports/test_c.py", "tests/ports/test_d.py"]
    runs = ({f"{name}::test_it": 3.0 for name in names},)
    config = Config(plan=PlanConfig(serial=("tests/ports/**",)), max_tasks=4)
    plan = assemble([project(names, config, runs)], Choice(shards=2), "")
    whole_and_disjoint(plan, names)
    assert [(task.id, task.alone, len(task.pieces)) for task in plan.tasks] == [
        ("unit-py3.12-1of3", False, 1),
        ("unit-py3.12-2of3", False, 1),
        ("unit-py3.12-3of3", True, 2),
    ]
    every = Config(plan=PlanConfig(serial=("**",)))
    assert [task.alone for task in assemble([project(names, every, runs)], Choice(shards=2), "").tasks] == [True]
    with pytest.raises(InputError, match="max-tasks"):
        assemble([project(names, Config(plan=config.plan, max_tasks=1), runs)], Choice(shards=2), "")


def test_a_faster_machine_gets_more_and_every_estimate_is_its_own_machine_s() -> None:
    names = [f"tests/test_{n}.py" for n in range(40)]
    runs = ({f"{name}::test_it": 1.0 for name in names},)
    config = Config(plan=PlanConfig(runner_speeds=(0.5, 2.0, 1.5)))
    plan = assemble([project(names, config, runs)], Choice(), "")
    whole_and_disjoint(plan, names)
    assert [(task.speed, len(task.pieces)) for task in plan.tasks] == [(0.5, 5), (2.0, 20), (1.5, 15)]
    assert all(task.estimate == pytest.approx(10.0, rel=0.05) for task in plan.tasks)
    two = assemble([project(names, config, runs)], Choice(shards=2), "")
    assert [task.speed for task in two.tasks] == [2.0, 1.5]  # the slowest machine gets nothing
    soon = assemble([project(names, msgspec.structs.replace(config, job_start="1s"), runs)], Choice(target=13.0), "")
    assert [task.speed for task in soon.tasks] == [2.0, 1.5]
    few = msgspec.structs.replace(config, max_tasks=2)
    assert [task.speed for task in assemble([project(names, few, runs)], Choice(), "").tasks] == [2.0, 1.5]
    with pytest.raises(InputError, match="3 speeds for 4 shards"):
        assemble([project(names, config, runs)], Choice(shards=4), "")


@pytest.mark.parametrize("speeds", [(), (0.5, 2.0)])
def test_an_explanation_has_the_seconds_of_the_plan(speeds: tuple[float, ...]) -> None:
    names = [f"tests/test_{n}.py" for n in range(20)]
    config = Config(plan=PlanConfig(runner_speeds=speeds, serial=("tests/test_0.py",)))
    runs = ({f"{name}::test_it": 2.0 for name in names},)
    given = msgspec.structs.replace(project(names, config, runs), start=3.0)
    found = assembled([given], Choice(shards=2), "")
    ((suite, packs),) = found.suites.items()
    shards = [task.estimate for task in found.plan.tasks if not task.alone]
    assert [shard.seconds for shard in explain(suite, packs).shards] == shards
    assert [task.estimate for task in found.plan.tasks if task.alone] == [5.02]


def test_groups_of_the_history_share_a_shard() -> None:
    names = ["tests/test_a.py", "tests/test_b.py"]
    runs = ({f"{name}::test_{n}": 1.0 for name in names for n in range(8)},)
    together = {f"{name}::test_{n}": "@db" for name in names for n in range(2)}
    given = msgspec.structs.replace(project(names, Config(), runs), groups=together)
    plan = assemble([given], Choice(shards=4), "")
    homes = {test: task.index for task in plan.tasks for piece in task.pieces for test in piece.tests or ()}
    assert len({homes[test] for test in together}) == 1


def test_what_starting_a_job_takes_is_configured_or_measured_or_assumed() -> None:
    names = [f"tests/test_{n}.py" for n in range(20)]
    runs = ({f"{name}::test_it": 9.5 for name in names},)

    def shards(config: Config, measured: float | None) -> int:
        given = msgspec.structs.replace(project(names, config, runs), job_start=measured)
        return len(assemble([given], Choice(target=65.0), "").tasks)

    assert shards(Config(), None) == shards(Config(), 15.0) == 4
    assert shards(Config(), 45.0) == 10
    assert shards(Config(job_start="15s"), 45.0) == 4
