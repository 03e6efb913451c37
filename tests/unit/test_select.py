"""Which part of a project was asked for."""

import re
from typing import Any

import msgspec
import pytest

from support.project import REPOSITORY, Project
from thebes.cli.profile import _complete
from thebes.cli.run import command as run
from thebes.config import Config, GateConfig, Profile
from thebes.errors import NothingSelectedError
from thebes.model import Discovery, Options, Speeds, TestFile
from thebes.plan import Choice, ProjectInput, assemble
from thebes.plan.estimate import estimate
from thebes.plan.select import joined, matching, names_any, speeds_of, still_failing
from thebes.profiles import PROFILES, options, words

FILES = ["tests/test_a.py", "tests/test_ab.py", "tests/queue/test_put.py", "src/app/tests/test_put.py", "docs/a.md"]
MODULES = {
    ".": FILES,
    "tests": FILES[:3],
    "tests/": FILES[:3],
    "./tests/test_a.py": FILES[:1],
    "tests/test_a": [],
    "test_a": FILES[:1],
    "test_put": FILES[2:4],
    "queue.test_put": FILES[2:3],
    "tests.queue": FILES[2:3],
    "app.tests.test_put": FILES[3:4],
    "pp.tests.test_put": [],
    "docs/a.md": FILES[4:],
    "est": [],
    "": FILES,
}


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_names(module: str) -> None:
    assert matching(module, FILES) == MODULES[module]


def test_a_test_is_failing_until_it_ends_otherwise() -> None:
    first = ({"a", "b", "c"}, set[str](), {"a::x", "a::y", "b::z", "c"})
    assert still_failing([first]) == {"a::x", "a::y", "b::z", "c"}
    part = ({"a"}, {"a::y", "a::n"}, {"a::new"})  # a::y was not asked for, a::x passed or is gone
    assert still_failing([first, part]) == {"a::y", "b::z", "c", "a::new"}
    assert still_failing([first, part, ({"a", "b", "c"}, set[str](), set[str]())]) == set()


def test_a_run_of_a_part_does_not_make_the_others_unknown() -> None:
    whole = {"a::x": 1.0, "a::y": 2.0, "b::z": 3.0}
    part = {"a::x": 1.0}
    assert [name for name, _ in estimate([whole, part]).tests["a"]] == ["a::x"]
    known = estimate([whole, part], left_out=[(), {"a::y", "a::never_ran"}])
    assert [name for name, _ in known.tests["a"]] == ["a::x", "a::y"]


def known() -> ProjectInput:
    """A slow test and one that failed in gate unit, a fast one in gate integration."""
    files = ("tests/unit/test_a.py", "tests/unit/test_b.py", "tests/integration/test_i.py")
    return ProjectInput(
        path=".",
        rootdir=".",
        inipath=None,
        config=Config(gates={"quality": GateConfig(checks=("ruff check .",)), "unit": GateConfig(coverage=90)}),
        discovery=Discovery(
            rootdir="/r",
            inipath=None,
            python="3.12",
            pytest="9.0.0",
            plugins={},
            options=Options(fail_under=80),
            files=tuple(TestFile(key=name, path=name) for name in files),
        ),
        runs=({f"{files[0]}::test_slow": 2.0, f"{files[0]}::test_fast": 0.0, f"{files[2]}::test_i": 0.0},),
        failed=frozenset({f"{files[1]}::test_bad", "tests/gone.py::test_bad"}),
    )


NOTHING: dict[str, dict[str, Any]] = {
    "--module tests/unit --gate integration: the gate has no such test": {"modules": ("tests/unit",)},
    "--speed slow --gate integration: the gate has no such test": {"speeds": ("slow",)},
    "--speed medium: none of the 3 tests that past runs know (medium is from 0.1 s)": {"speeds": ("medium",)},
    "--module test_i --failed: nothing to do: no test of these failed": {"modules": ("test_i",), "failed": True},
    "--gate contract: nothing is configured or found for it": {"gates": ("contract",)},
    "--collect --gate quality: the gate has no such test": {"gates": ("quality",), "collect": True},
}


@pytest.mark.parametrize("text", NOTHING)
def test_what_selects_nothing_says_why(text: str) -> None:
    choice = msgspec.convert({"gates": ("integration",), **NOTHING[text]}, Choice)
    with pytest.raises(NothingSelectedError, match=re.escape(f"INVALID: {text}")):
        assemble([known()], choice, "")


def test_a_part_is_planned_without_the_rest() -> None:
    plan = assemble([known()], Choice(speeds=("slow",), shards=4), "")
    (task,) = plan.tasks
    assert [piece.file for piece in task.pieces] == ["tests/unit/test_a.py"]
    assert 2.0 <= task.estimate < 2.1
    assert (plan.suites[0].marker, plan.suites[0].coverage, plan.projects[0].fail_under) == ("slow", False, None)
    assert plan.projects[0].speeds == Speeds(
        names=("fast", "medium", "slow"), slow=("tests/unit/test_a.py::test_slow",)
    )
    assert {skip.gate: skip.reason for skip in plan.skips} == dict.fromkeys(
        ("integration", "quality"), "left out by --speed slow"
    )
    whole = assemble([known()], Choice(shards=1), "")
    assert (whole.projects[0].speeds, whole.projects[0].fail_under, whole.narrowed) == (None, 80, ())
    again = assemble([known()], Choice(failed=True), "").projects[0]
    assert again.only == ("tests/unit/test_b.py::test_bad",)


def test_classes_and_their_names() -> None:
    known = estimate([{"a::f": 0.0999, "a::m": 0.1, "a::n": 0.999, "a::s": 1.0}])
    found = speeds_of(known, (0.1, 1.0), ["medium"])
    assert (found.names, found.medium, found.slow) == (("fast", "thebes_medium", "slow"), ("a::m", "a::n"), ("a::s",))
    assert names_any(["network and not (slow or x)", None], found.names)
    assert not names_any(["slower", "medium", "", None], found.names)
    assert joined(None, "") is None
    assert joined("a or b", "slow") == "(a or b) and (slow)"


def test_a_profile_is_nothing_but_options_of_the_command() -> None:
    """Each key is an option, each built-in one a line of the table, and its values are such as can be typed."""
    known = {option.removeprefix("--") for parameter in run.params for option in parameter.opts}
    keys = {name.replace("_", "-") for name in Profile.__struct_fields__} - {"args"}
    assert keys <= known
    about_a_run = {"profile", "fast", "out", "durations", "history", "interpreter", "base", "json", "arguments"}
    assert keys == known - about_a_run
    table = (REPOSITORY / "docs" / "profiles.md").read_text("utf-8")
    for name, profile in PROFILES.items():
        assert f"| `{name}` | `{' '.join(words(profile))}` |" in table
        typed = words(profile)[: -len(profile.args) - 1] if profile.args else words(profile)
        with run.make_context("run", [*typed]) as by_hand, run.make_context("run", ["--profile", name]) as by_name:
            assert {**by_hand.params} == {**by_name.params}
            assert options(profile)


def test_a_projects_own_profiles(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take the place of built-in ones, what is typed wins over them, and a shell knows their names."""
    table = "[tool.thebes.profiles.fast]\nshards = 3\ngate = ['unit']\n[tool.thebes.profiles.night]\nargs = ['-v']\n"
    project.write({"pyproject.toml": table})
    monkeypatch.chdir(project.root)
    with run.make_context("run", ["--fast", "--gate", "database"]) as context:
        chosen = [context.params[name] for name in ("shards", "gates", "speeds")]
        found = {item.value: item.help for item in _complete(context, run.params[0], "")}
    assert chosen == [3, ("database",), ()]
    assert found["night"] == "-- -v"
    assert found["fast"] == "--gate unit --shards 3"
    assert found["slow"] == "--speed slow"
    shell = {"_THEBES_COMPLETE": "bash_complete", "COMP_WORDS": "thebes run --profile ni", "COMP_CWORD": "3"}
    assert project.command("thebes", env=shell).stdout == "plain,night\n"
