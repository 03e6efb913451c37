"""What is made of past runs before planning: groups, names that files have now."""

from pathlib import Path
from typing import Any

from support.project import Project
from thebes.cli.past import _groups, _renamed
from thebes.history.read import PastRun, Stamp


def past(*files: str, commit: str = "", **more: Any) -> PastRun:
    """A run that had these files, each with one test."""
    stamp = Stamp(at=1.0, commit=commit, branch="main", machine="m", verdict="PASS")
    tests = {f"{file}::test": 1.0 for file in files}
    return PastRun(stamp, tests, dict.fromkeys(files, (0.1, 0.0)))._replace(**more)


def test_a_group_is_known_from_the_newest_run_that_ran_its_test() -> None:
    whole = past("a.py", "b.py", "c.py", groups={"a.py::test": "db", "a.py::other": "db", "b.py::test": "mail"})
    part = past("b.py", "c.py", groups={"c.py::test": "db"})
    imported = past()._replace(tests={"a.py::test": 2.0})
    assert _groups([]) == {}
    assert _groups([whole, part, imported]) == {"a.py::test": "db", "a.py::other": "db", "c.py::test": "db"}
    narrowed = past("a.py", left_out=frozenset({"a.py::other"}))
    assert _groups([whole, narrowed]) == {"a.py::other": "db", "b.py::test": "mail"}


def test_a_renamed_file_is_found_since_the_newest_run_that_had_it(project: Project) -> None:
    """Others may have run since then: a part of the tests, or durations that were imported."""
    project.write({f"deep/{name}.py": f"{name} = 1\n" * 20 for name in "abcd"})
    first = project.commit()
    project.git("mv", "deep/a.py", "deep/moved.py")
    second = project.commit()
    project.git("mv", "deep/b.py", "deep/e.py")
    project.git("mv", "deep/moved.py", "deep/again.py")
    project.git("rm", "-q", "deep/c.py")
    project.commit()
    runs = [past("deep/a.py", "deep/b.py", "deep/c.py", commit=first), past("deep/moved.py", commit=second), past()]
    present = ["deep/again.py", "deep/d.py", "deep/e.py"]
    names = {"deep/a.py": "deep/again.py", "deep/moved.py": "deep/again.py", "deep/b.py": "deep/e.py"}
    assert _renamed(runs, project.root, present) == names
    below = [run.moved({f"deep/{name}.py": f"{name}.py" for name in ("a", "b", "c", "moved")}) for run in runs]
    assert _renamed(below, project.root / "deep", ["again.py", "d.py", "e.py"]) == {
        old.removeprefix("deep/"): new.removeprefix("deep/") for old, new in names.items()
    }


def test_git_is_asked_only_where_it_may_tell_something_new(project: Project) -> None:
    project.write({f"{name}.py": f"{name} = 1\n" * 20 for name in "ab"})
    first = project.commit()
    project.git("mv", "a.py", "moved.py")
    second = project.commit()
    runs = [past("a.py", "b.py", commit=first), past("moved.py", "b.py", commit=second)]
    assert _renamed(runs, project.root, ["moved.py", "b.py"]) == {}  # the newest run has it by its name of now
    marked = [runs[0]._replace(unstable=frozenset({"a.py"})), runs[1]]
    assert _renamed(marked, project.root, ["moved.py", "b.py"]) == {"a.py": "moved.py"}
    assert _renamed(runs, Path("/nowhere"), ["moved.py", "b.py", "new.py"]) == {}


def test_all_that_is_known_of_a_file_goes_by_its_new_name() -> None:
    run = past(
        "a.py",
        "b.py",
        groups={"a.py::test": "db"},
        left_out=frozenset({"a.py::other"}),
        red=frozenset({"a.py", "b.py::test"}),
        shared={"server": (2.0, {"a.py": ("test",), "b.py": None})},
        unstable=frozenset({"a.py"}),
    )
    assert run.moved({}) is run
    assert run.moved({"a.py": "c.py"}) == PastRun(
        run.stamp,
        {"c.py::test": 1.0, "b.py::test": 1.0},
        {"c.py": (0.1, 0.0), "b.py": (0.1, 0.0)},
        groups={"c.py::test": "db"},
        left_out=frozenset({"c.py::other"}),
        red=frozenset({"c.py", "b.py::test"}),
        shared={"server": (2.0, {"c.py": ("test",), "b.py": None})},
        unstable=frozenset({"c.py"}),
    )
