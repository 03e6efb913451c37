"""What stands between GitHub and the stages. The workflows themselves are tested in tests/workflows."""

import json
import re
import runpy
import sys
import sysconfig
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from support.github import TOKEN, serve
from support.project import REPOSITORY, Project
from thebes.config import Config, GateConfig
from thebes.errors import InputError
from thebes.github import attempts, environment, matrix, runner
from thebes.github.background import Round, another, worst
from thebes.github.comment import AUTHOR, MARK
from thebes.github.event import Event, of
from thebes.github.labels import moves
from thebes.github.skips import skips
from thebes.model import Plan, Suite, Task, TaskKind, VerdictKind

BASE = "b" * 40
SITE = sysconfig.get_path("purelib")


def read_outputs(text: str) -> dict[str, str]:
    """As the runner reads GITHUB_OUTPUT."""
    found, lines = {}, iter(text.split("\n"))
    for line in lines:
        if line:
            name, mark = line.split("<<", 1)
            value = []
            while (line := next(lines)) != mark:
                value.append(line)
            found[name] = "\n".join(value)
    return found


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text(st.characters(codec="utf-8", exclude_characters="\r"))))
def test_no_value_can_become_another_output(tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("outputs") / "file"
    runner.set_outputs({"GITHUB_OUTPUT": str(path)}, values)
    assert read_outputs(path.read_text("utf-8")) == values


def test_a_summary_that_github_would_drop_is_left_out_and_said(tmp_path: Path) -> None:
    page = tmp_path / "summary"
    told = {"GITHUB_STEP_SUMMARY": str(page)}
    runner.add_summary(told, "ä" * (runner.SUMMARY_LIMIT // 2))
    runner.add_summary(told, "verdict")
    assert page.read_text("utf-8").endswith("the report has everything.\n")


def test_dotenv_and_its_masks() -> None:
    text = "# comment\nexport A=1 # two\nB='x # y'\nC=\"first\\nsecond%\"\n\n"
    found = runner.dotenv(text, "env-file")
    assert found == {"A": "1", "B": "x # y", "C": "first\nsecond%"}
    assert runner.masks(found) == ["::add-mask::first", "::add-mask::second%25", "::add-mask::x # y"]


@pytest.mark.parametrize(("text", "line"), [("A=1\nhunter2", 2), ("A='hunter2", 1), ("1A=hunter2", 1)])
def test_a_wrong_dotenv_is_refused_without_showing_it(text: str, line: int) -> None:
    with pytest.raises(InputError, match=f"line {line}") as error:
        runner.dotenv(text, "env-file")
    assert "hunter2" not in str(error.value)


def test_what_is_printed_is_inert() -> None:
    said: list[str] = []
    with runner.inert(said.append):
        said.append("::error::x")
    token = said[0].strip().removeprefix("::stop-commands::")
    assert said[-1].strip() == f"::{token}::"
    assert len(token) > 32


def pull(**change: Any) -> Mapping[str, Any]:
    side = {"repo": {"full_name": "a/b"}}
    return {"pull_request": {"head": side, "base": {**side, "sha": BASE}, **change}}


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("push", {"before": BASE}, Event(name="push")),
        ("pull_request", pull(), Event(name="pull_request", base=BASE)),
        ("pull_request", pull(draft=True), Event(name="pull_request", base=BASE, draft=True)),
        ("pull_request", pull(head={"repo": None}), Event(name="pull_request", base=BASE, fork=True)),
        ("pull_request", pull(head={"repo": {"full_name": "x/b"}}), Event(name="pull_request", base=BASE, fork=True)),
        ("merge_group", {"merge_group": {"base_sha": BASE}}, Event(name="merge_group", base=BASE)),
        ("merge_group", {"merge_group": {"base_sha": "--output=x"}}, Event(name="merge_group")),
    ],
)
def test_events(name: str, document: Mapping[str, Any], expected: Event) -> None:
    assert of(name, document, "") == expected


def test_a_merge_commit_tells_the_base_better_than_the_event() -> None:
    assert of("pull_request", pull(), "c" * 40).base == "c" * 40


def plan(number: int, gate: str = "unit", wave: int = 1) -> Plan:
    suite = Suite(id=gate, project=".", gate=gate, python="3.12")
    tasks = (Task(id=f"{gate}-{i}", suite=gate, kind=TaskKind.PYTEST, wave=wave, estimate=1.0) for i in range(number))
    return Plan(commit="", suites=(suite,), tasks=tuple(tasks))


def test_more_than_a_matrix_can_hold_becomes_a_second_one() -> None:
    found = matrix.outputs(plan(300), matrix.runners("ubuntu-24.04", ""), waves=False)
    sizes = {name: len(json.loads(text)["include"]) if text else 0 for name, text in found.items()}
    assert sizes == {"wave-1": 256, "wave-2": 0, "wave-3": 0, "wave-4": 0, "overflow": 44}
    assert max(map(len, found.values())) < 131_071  # of one environment variable, where somebody puts it into one
    with pytest.raises(InputError, match="more than two matrices: 257 tasks"):
        matrix.outputs(plan(513), matrix.runners("ubuntu-24.04", ""), waves=False)
    with pytest.raises(InputError, match=r"wave 3: 257 tasks"):
        matrix.outputs(plan(257, "integration", 3), matrix.runners("ubuntu-24.04", ""), waves=True)


def test_runners() -> None:
    given = matrix.runners('["self-hosted", "linux"]', '{"quality": "ubuntu-24.04"}')
    assert given.of("unit") == ["self-hosted", "linux"]
    assert given.of("quality") == "ubuntu-24.04"
    assert "self-hosted" in given.all()


def test_runners_by_speed() -> None:
    """A task that was made for a fast machine gets one, or there is no plan at all."""
    speeds = (2.0, 1.0)
    made = plan(2)
    tasks = [msgspec.structs.replace(task, speed=speed) for task, speed in zip(made.tasks, speeds, strict=True)]
    made = msgspec.structs.replace(made, tasks=tuple(tasks))
    given = matrix.runners("usual", "", '{"2": ["self-hosted", "fast"]}')
    wave = json.loads(matrix.outputs(made, given, waves=False)["wave-1"])["include"]
    assert [each["runner"] for each in wave] == [["self-hosted", "fast"], "usual"]
    assert "self-hosted" in given.all()
    both = matrix.runners("usual", '{"quality": "own"}', '{"1": "slow"}')
    assert (both.of("unit"), both.of("quality")) == ("slow", "own")  # which any speed of 1 would take
    with pytest.raises(InputError, match="speed-runners: no label for machines of speed 2, which"):
        matrix.outputs(made, matrix.runners("usual", ""), waves=False)
    with pytest.raises(InputError, match="speed-runners: 'fast' is no speed"):
        matrix.runners("usual", "", '{"fast": "x"}')


@pytest.mark.parametrize(
    ("usual", "gates", "text"),
    [
        ("[1]", "", r"runner: expected a label or a list of labels, found \[1\]"),
        ("x", "{", "gate-runners: '{' is not JSON"),
        ("x", '{"units": "x"}', "gate-runners: no gate 'units'; did you mean 'unit'?"),
        ("x", '{"unit": []}', r"gate-runners.unit: expected a label or a list"),
        ("", "", "runner: expected a label"),
    ],
)
def test_runners_that_are_refused(usual: str, gates: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        matrix.runners(usual, gates)


DATABASE = Config(gates={"database": GateConfig(changes=("db/**",))})
CHANGE = Event(name="pull_request", base=BASE)


def skipped(event: Event, files: list[str] | None, *configs: Config, docs: tuple[str, ...] = ()) -> set[str]:
    return {skip.gate for skip in skips(event, files, [{".": one} for one in configs], drafts=False, docs=docs)}


def test_a_gate_is_left_out_only_if_change_and_base_say_so() -> None:
    assert skipped(CHANGE, ["src/a.py"], DATABASE, DATABASE) == {"database"}
    assert skipped(CHANGE, ["src/a.py", "db/1.sql"], DATABASE, DATABASE) == set()
    assert skipped(CHANGE, ["src/a.py"], DATABASE, Config()) == set()
    assert skipped(Event(name="push"), None, DATABASE) == set()


def test_drafts_and_documents() -> None:
    assert len(skipped(Event(name="pull_request", base=BASE, draft=True), ["a.py"], Config())) == 7
    assert len(skipped(CHANGE, ["docs/a.md", "README.md"], Config(), docs=("docs/**", "*.md"))) == 7
    assert skipped(CHANGE, ["docs/a.md", "a.py"], Config(), docs=("docs/**",)) == set()
    assert skipped(CHANGE, [], Config(), docs=("**",)) == set()


def test_in_several_projects_each_must_let_go() -> None:
    both = {".": DATABASE, "api": DATABASE}
    assert skips(CHANGE, ["db/x"], [both], drafts=True, docs=()) == ()
    assert skips(CHANGE, ["api/db/x"], [both], drafts=True, docs=()) == ()
    assert [skip.gate for skip in skips(CHANGE, ["api/x"], [both], drafts=True, docs=())] == ["database"]


def test_a_fork_stays_off_own_machines(project: Project) -> None:
    project.write({"tests/unit/test_a.py": "def test_a(): pass\n"})
    ours = {"repo": {"full_name": "a/b"}, "sha": project.commit()}
    project.write({"event.json": json.dumps(pull(head={"repo": {"full_name": "x/b"}}, base=ours))})
    event = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(project.root / "event.json")}
    plan = ("github", "plan", "--out", "plan.json", "--runner")
    assert project.thebes(*plan, "ubuntu-24.04", env=event).exit == 0
    refused = project.thebes(*plan, '["self-hosted", "linux"]', env=event)
    assert (refused.exit, "a change from a fork does not run on self-hosted" in refused.stderr) == (2, True)
    rounds = project.thebes("github", "background", "--minutes", "1", "--agent", "api", "--out", "rounds", env=event)
    assert (rounds.exit, "a change from a fork does not run here" in rounds.stderr) == (2, True)


PYPROJECT = {"project": {"optional-dependencies": {"test": [], "docs": []}}, "dependency-groups": {"dev": []}}


@pytest.mark.parametrize(
    ("files", "pyproject", "tool", "command"),
    [
        (["uv.lock", "pyproject.toml"], PYPROJECT, "uv", "uv sync --frozen --all-extras --all-groups"),
        (["poetry.lock"], {}, "poetry", "poetry install --no-interaction --all-extras --all-groups"),
        (["pdm.lock"], {}, "pdm", "pdm sync --group :all"),
        (["pyproject.toml"], PYPROJECT, "pip", "python -m pip install --group dev --editable .[test] pytest"),
        (
            ["requirements/dev.txt", "requirements/docs.txt"],
            {},
            "pip",
            "python -m pip install --requirement requirements/dev.txt pytest",
        ),
        (
            ["requirements-test.txt", "setup.py"],
            {},
            "pip",
            "python -m pip install --requirement requirements-test.txt --editable . pytest",
        ),
        (["pyproject.toml"], {"project": {"name": "x"}}, "pip", "python -m pip install --editable . pytest"),
        (["README.md"], {}, "pip", "python -m pip install pytest"),
    ],
)
def test_recipes(files: list[str], pyproject: Mapping[str, Any], tool: str, command: str) -> None:
    made = environment.recipe(files, pyproject, "")
    assert (made.tool, " ".join(made.commands[-1])) == (tool, command)
    assert made.commands[:-1] == ((environment.PIP_WITH_GROUPS,) if tool == "pip" and "--group" in command else ())


def test_a_given_command_wins() -> None:
    made = environment.recipe(["uv.lock"], {}, "make env")
    assert made.commands == (("bash", "-euo", "pipefail", "-c", "make env"),)


def test_keys_tell_apart_what_matters_and_nothing_else() -> None:
    made, contents, today = environment.recipe(["uv.lock"], {}, ""), {"uv.lock": b"1"}, date(2026, 11, 21)
    key = environment.key(made, contents, ("3.12",), "", today)
    assert key == environment.key(made, contents, ("3.12",), "", date(2027, 1, 1))
    others = [
        environment.key(made, {"uv.lock": b"2"}, ("3.12",), "", today),
        environment.key(made, contents, ("3.13",), "", today),
        environment.key(made, contents, ("3.12",), "new", today),
        environment.key(environment.recipe(["uv.lock"], {}, "make"), contents, ("3.12",), "", today),
    ]
    assert len({key, *others}) == 5
    unlocked = environment.recipe(["pyproject.toml"], {}, "")
    weeks = {environment.key(unlocked, {}, (), "", date(2026, 11, day)) for day in (16, 22, 23)}
    assert len(weeks) == 2


def test_pythons() -> None:
    classifiers = {
        "project": {"classifiers": [f"Programming Language :: Python :: 3.{minor}" for minor in (9, 12, 11)]}
    }
    assert environment.pythons("3.11, 3.12", ["3.13"], "3.10", classifiers) == ("3.11", "3.12")
    assert environment.pythons("", ["3.13"], "3.10", classifiers) == ("3.13",)
    assert environment.pythons("", [], "3.10.4\n", classifiers) == ("3.10",)
    assert environment.pythons("", [], "", classifiers) == ("3.12",)


GREEN = {"plan": "success", "wave-1": "success", "wave-2": "skipped"}
COUNTS = {"wave-1": 3, "wave-2": 0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"wave-1": "failure"}, ["wave-1: failure, where success was expected"]),
        ({"wave-1": "skipped"}, ["wave-1: skipped, where success was expected"]),
        ({"wave-1": "cancelled"}, ["wave-1: cancelled, where success was expected"]),
        ({"plan": "unknown"}, ["plan: unknown, where success was expected"]),
        ({"wave-2": "success"}, ["wave-2: success, where skipped was expected"]),
        ({"extra": "failure"}, ["extra: failure, where skipped was expected"]),
    ],
)
def test_results_of_jobs_are_held_against_a_pass(change: dict[str, str], said: list[str]) -> None:
    assert attempts.crosscheck(VerdictKind.PASS, COUNTS, {**GREEN, **change}) == said


def test_results_as_a_job_hands_them_over() -> None:
    text = "plan=success wave-1=\n wave-2=skipped $(id)=success"
    assert attempts.results(text) == {"plan": "success", "wave-1": "unknown", "wave-2": "skipped"}


def test_a_lost_api_is_no_pass(project: Project) -> None:
    project.write({"tests/unit/test_a.py": "def test_a(): pass\n"})
    project.commit()
    run = {
        "GITHUB_RUN_ATTEMPT": "2",
        "GITHUB_TOKEN": "t",
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_RUN_ID": "1",
    }
    assert project.thebes("github", "plan", "--out", "plan.json").exit == 0
    task = json.loads((project.root / "plan.json").read_bytes())["tasks"][0]["id"]
    assert project.thebes("github", "task", task, "--plan", "plan.json", "--out", "artifacts").exit == 0
    assert project.thebes("github", "decide", "artifacts", "--plan", "plan.json", "--out", "out").exit == 0
    asked = project.thebes("github", "decide", "artifacts", "--plan", "plan.json", "--out", "out", env=run)
    assert asked.exit == 3
    assert set(project.reasons()) == {"attempts-unknown"}


def test_shards_for_runners_of_different_speed_are_planned_run_and_decided(project: Project) -> None:
    speeds = "[tool.thebes]\nshards = 1\n[tool.thebes.plan]\nrunner-speeds = [2.0]\n"
    project.write({"pyproject.toml": speeds, "tests/unit/test_a.py": "def test_a(): pass\n"})
    project.commit()
    refused = project.thebes("github", "plan", "--out", "plan.json")
    assert (refused.exit, "speed-runners: no label for machines of speed 2" in refused.stderr) == (2, True)
    assert project.thebes("github", "plan", "--out", "plan.json", "--speed-runners", '{"2": "fast"}').exit == 0
    (task,) = json.loads((project.root / "plan.json").read_bytes())["tasks"]
    assert task["speed"] == 2.0
    assert project.thebes("github", "task", task["id"], "--plan", "plan.json", "--out", "artifacts").exit == 0
    assert project.thebes("github", "decide", "artifacts", "--plan", "plan.json", "--out", "out").exit == 0


def test_without_a_plan_nothing_is_a_pass_and_nothing_else_is_needed(project: Project) -> None:
    """What broke the plan may be the configuration itself."""
    project.write({"pyproject.toml": "[tool.thebes]\nshard = 2\n"})
    told = ["--plan", "none.json", "--out", "out", "--jobs", "plan=failure wave-1=skipped"]
    done = project.thebes("github", "decide", "none", *told, env={"GITHUB_OUTPUT": str(project.root / "o")})
    assert done.exit == 3
    assert project.reasons() == {"plan-missing": ["plan: failure"]}
    assert read_outputs((project.root / "o").read_text("utf-8"))["verdict"] == "INVALID"


def test_only_attempts_since_the_plan_count(project: Project) -> None:
    """All jobs run again: there is a new plan, and what was recorded for the old one says nothing."""
    project.write({"tests/unit/test_a.py": "def test_a(): pass\n"})
    project.commit()
    for attempt, arguments in (("1", "-q"), ("2", "-v")):
        run = {"GITHUB_RUN_ATTEMPT": attempt}
        assert project.thebes("github", "plan", "--pytest-args", arguments, "--out", "plan.json").exit == 0
        task = json.loads((project.root / "plan.json").read_bytes())["tasks"][0]["id"]
        assert project.thebes("github", "task", task, "--plan", "plan.json", "--out", "artifacts", env=run).exit == 0
    decided = project.thebes(
        "github", "decide", "artifacts", "--plan", "plan.json", "--plan-attempt", "2", "--out", "out"
    )
    assert decided.exit == 0, decided.stdout
    decided = project.thebes("github", "decide", "artifacts", "--plan", "plan.json", "--out", "out")
    assert set(project.reasons()) == {"record-foreign"}


HEAD = "d" * 40
RUN = {
    "head_branch": "fix/1 2",
    "head_sha": HEAD,
    "head_repository": {"owner": {"login": "somebody"}},
    "html_url": "https://github.com/a/b/actions/runs/1",
}
HOSTILE = "tests/x.py::t[@team `![](https://evil.example/x)` <img src=x> [a](b)]"


def commented(project: Project, comments: list[dict[str, Any]], pulls: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """What `thebes github comment` sent to GitHub."""
    verdict = {
        "schema": 1,
        "plan": "p",
        "commit": HEAD,
        "verdict": "FAIL",
        "gates": {
            "unit": {
                "verdict": "FAIL",
                "reasons": [{"code": "test-failed", "verdict": "FAIL", "text": "1 test failed", "subjects": [HOSTILE]}],
            }
        },
    }
    project.write({"report/verdict.json": json.dumps(verdict), "event.json": json.dumps({"workflow_run": RUN})})
    answers = {
        "GET /repos/a/b/pulls": pulls,
        "GET /repos/a/b/issues/7/comments": comments,
        "POST /repos/a/b/issues/7/comments": {},
        "PATCH /repos/a/b/issues/comments/99": {},
    }
    with serve(answers) as github:
        env = {
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": "a/b",
            "GITHUB_EVENT_PATH": str(project.root / "event.json"),
        }
        done = project.thebes("github", "comment", "report", env=env)
    assert done.exit == 0, done.stderr
    assert github.asked[0]["head"] == "somebody:fix/1 2"
    return github.sent


OURS = {"id": 99, "user": {"login": AUTHOR}, "body": f"{MARK} old"}
COPY = {"id": 5, "user": {"login": "somebody"}, "body": f"{MARK} old"}
PULL = {"number": 7, "head": {"sha": HEAD}}


def test_one_comment_is_written_and_then_updated(project: Project) -> None:
    ((where, first),) = commented(project, [COPY], [{"number": 6, "head": {"sha": BASE}}, PULL])
    assert where == "POST /repos/a/b/issues/7/comments"
    html = MarkdownIt("commonmark").render(first["body"])
    assert "FAIL" in html
    assert not re.search(r"<img|<a href=.(?!https://github.com/a/b/)", html)
    assert "<code>tests/x.py::t[@team" in html
    ((where, _),) = commented(project, [*[COPY] * 150, OURS], [PULL])
    assert where == "PATCH /repos/a/b/issues/comments/99"


def test_no_comment_where_the_commit_is_not_the_newest(project: Project) -> None:
    assert commented(project, [], [{"number": 7, "head": {"sha": BASE}}]) == []


LABELS = """
    [tool.thebes.labels]
    Database = ["db/**"]
    documentation = ["docs/**", "*.md"]
    "area: api" = ["api/**"]
"""


def labelled(project: Project, files: list[dict[str, str]], present: list[str]) -> list[tuple[str, Any]]:
    """What `thebes github label` sent to GitHub."""
    project.write({"pyproject.toml": LABELS, "event.json": json.dumps({"pull_request": {"number": 7}})})
    place = "/repos/a/b/issues/7/labels"
    answers = {
        "GET /repos/a/b/pulls/7/files": files,
        f"GET {place}": [{"name": name} for name in present],
        f"POST {place}": [],
        f"DELETE {place}/area%3A%20API": [],
    }
    with serve(answers) as github:
        env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "a/b"}
        done = project.thebes("github", "label", env={**env, "GITHUB_EVENT_PATH": str(project.root / "event.json")})
    assert done.exit == 0, done.stderr
    return github.sent


def test_labels_follow_the_changed_files(project: Project) -> None:
    """A renamed file counts at both places; what is nobody's configuration, and what is right, stays."""
    renamed = [{"filename": "x/1.sql", "previous_filename": "db/1.sql"}]
    files = [*({"filename": f"src/{number}.py"} for number in range(150)), {"filename": "README.md"}, *renamed]
    added, removed = labelled(project, files, ["area: API", "wontfix", "Documentation"])
    assert added == ("POST /repos/a/b/issues/7/labels", {"labels": ["Database"]})
    assert removed == ("DELETE /repos/a/b/issues/7/labels/area%3A%20API", None)
    assert labelled(project, [{"filename": "api/a.py"}], ["area: API"]) == []


def test_no_label_is_taken_off_where_github_does_not_tell_all_files() -> None:
    assert moves({"docs": ("docs/**",)}, ["a.py"] * 2999, ["docs"]).remove == ["docs"]
    assert moves({"docs": ("docs/**",)}, ["a.py"] * 3000, ["docs"]).remove == []


def test_what_can_not_be_labelled_is_told(project: Project) -> None:
    project.write({"event.json": "{}"})
    env = {"GITHUB_EVENT_PATH": str(project.root / "event.json")}
    assert project.thebes("github", "label", env=env).stderr.endswith("no pull request in the event\n")
    project.write({"event.json": json.dumps({"pull_request": {"number": 7}})})
    done = project.thebes("github", "label", env=env)
    assert (done.exit, done.stderr.count("\n")) == (2, 1)
    assert "tool.thebes.labels: nothing configured" in done.stderr
    project.write({"pyproject.toml": LABELS})
    with serve(
        {"GET /repos/a/b/pulls/7/files": [{"filename": "db/x"}], "GET /repos/a/b/issues/7/labels": []}
    ) as github:
        told = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": TOKEN, "GITHUB_REPOSITORY": "a/b"}
        done = project.thebes("github", "label", env={**env, **told})
    assert done.exit == 3
    assert "do these labels exist: Database?" in done.stderr


def test_versions_of_services_come_from_an_input(project: Project) -> None:
    gate = '[tool.thebes.gates.database]\nservices = { postgres = ["14"] }\n'
    project.write({"tests/database/test_a.py": "def test_a(): pass\n", "pyproject.toml": gate})
    project.commit()
    done = project.thebes("github", "plan", "--out", "plan.json", env={"THEBES_SERVICES": "postgres=16,18"})
    assert done.exit == 0, done.stderr
    suites = json.loads((project.root / "plan.json").read_bytes())["suites"]
    assert [suite["services"] for suite in suites] == [{"postgres": "16"}, {"postgres": "18"}]
    for text, said in {
        "postgres": "services: 'postgres': expected a service once, with its versions, as in postgres=16,18",
        "postgres=16 postgres=18": "services: 'postgres=18': expected a service once",
        "postgres=16,16": "expected a service once",
        "postgres=$(id)": "services: postgres: '$(id)' is not a version",
        "redis=7": "services: 'redis' is asked for by no gate; they ask for postgres",
    }.items():
        done = project.thebes("github", "plan", "--out", "plan.json", env={"THEBES_SERVICES": text})
        assert (done.exit, done.stderr.count("\n")) == (2, 1), text
        assert said in done.stderr


def test_the_tables_of_the_document_are_those_of_the_workflow() -> None:
    tool = runpy.run_path(str(REPOSITORY / "tools" / "generate_github.py"))
    text = (REPOSITORY / "docs" / "github.md").read_text("utf-8")
    assert tool["rendered"](text) == text, "make formats"


@pytest.mark.parametrize("name", ["README.md", "docs/github.md"])
def test_what_a_consumer_writes_is_short_and_right(name: str) -> None:
    example = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / name).read_text("utf-8"), re.DOTALL)[0]
    assert len(example.splitlines()) <= 12
    call = yaml.safe_load(example)["jobs"]["gates"]
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/quality-gates.yml").read_text("utf-8"))
    assert set(call.get("with", {})) <= set(workflow[True]["workflow_call"]["inputs"])
    asked = {(name, right) for job in workflow["jobs"].values() for name, right in job["permissions"].items()}
    assert asked == set(call["permissions"].items())


def test_a_cached_history_that_cannot_be_read_is_left_out(project: Project) -> None:
    project.write({"tests/unit/test_a.py": "def test_a(): pass\n", "cache/history.db": "no database"})
    project.commit()
    env = {"THEBES_CACHED_HISTORY": str(project.root / "cache" / "history.db")}
    done = project.thebes("github", "plan", "--out", "plan.json", env=env)
    assert done.exit == 0, done.stderr
    assert "the cached history is left out" in done.stderr
    assert (project.root / "cache" / "history.db").read_bytes()[:6] == b"SQLite"  # a new one, to be fed


def test_an_environment_from_the_cache_is_tried_before_it_is_used(project: Project) -> None:
    """What a cache brings may be of another machine, cut short or somebody's: it is made anew unless it works."""
    here = f"import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'x.pth').write_text({SITE!r})"
    project.write({".venv/bin/python": "#!/bin/sh\nexit 7\n", ".venv/left-over": "", "install.py": here})
    (project.root / ".venv" / "bin" / "python").chmod(0o755)
    first = project.thebes("github", "install", "--install", "python install.py")
    assert first.exit == 0, first.stderr
    assert "-m venv" in first.stderr
    assert not (project.root / ".venv" / "left-over").exists()
    again = project.thebes("github", "install", "--install", "python install.py")
    assert again.exit == 0
    assert "-m venv" not in again.stderr
    failed = project.thebes("github", "install", "--install", "false")
    assert failed.exit == 3
    assert "the tests' environment could not be made" in failed.stderr


PACKAGE = """
    [project]
    name = "some.consumer"
    version = "1"
    dependencies = ["NEEDED"]
    [project.optional-dependencies]
    test = ["pytest"]
    [build-system]
    requires = ["hatchling"]
    build-backend = "hatchling.build"
    [tool.hatch.build.targets.wheel]
    packages = ["src/consumer"]
    """
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


def test_only_the_project_is_installed_where_the_cache_brought_the_rest(project: Project) -> None:
    """Its own import is a proof that it was; what is missing, or does not work, is never taken for complete."""
    project.write({"pyproject.toml": PACKAGE.replace("NEEDED", "click"), "src/consumer/__init__.py": ""})
    assert project.command(sys.executable, "-m", "venv", "--without-pip", ".venv").exit == 0
    (site,) = (project.root / ".venv" / "lib").glob("*/site-packages")
    (site / "here.pth").write_text(SITE, "utf-8")
    kept = project.root / environment.BACKEND
    kept.parent.mkdir()
    kept.symlink_to(SITE)
    again = project.thebes("github", "install", env=OFFLINE)
    assert again.exit == 0, again.stderr
    assert "--no-deps --no-build-isolation --editable ." in again.stderr
    assert "install --editable" not in again.stderr
    assert project.command(".venv/bin/python", "-c", "import consumer").exit == 0

    project.write({"pyproject.toml": PACKAGE.replace("NEEDED", "not-at-hand-1234")})
    lacking = project.thebes("github", "install", env=OFFLINE)
    assert lacking.exit == 3
    tried = [line for line in lacking.stderr.splitlines() if line.startswith("thebes: ")]
    assert any("--no-index some.consumer[test] pytest" in line for line in tried)
    assert [line for line in tried if "install --editable .[test] pytest" in line], tried
    assert any("-m venv" in line for line in tried)
    assert not kept.exists()


def test_the_tool_of_a_lock_file_is_kept_with_the_environment(project: Project) -> None:
    tool = project.root / environment.KEPT / "poetry" / "bin" / "poetry"
    said = '#!/bin/sh\necho "$@" >> said\n'
    project.write({"poetry.lock": "", "requirements/poetry.txt": "", tool.relative_to(project.root).as_posix(): said})
    tool.chmod(0o755)
    assert project.command(sys.executable, "-m", "venv", "--without-pip", ".venv").exit == 0
    (site,) = (project.root / ".venv" / "lib").glob("*/site-packages")
    (site / "here.pth").write_text(SITE, "utf-8")
    env = {"THEBES_KIT": str(project.root), "PATH": f"{Path(sys.prefix, 'bin')}:/usr/bin:/bin"}
    done = project.thebes("github", "install", env=env)
    assert done.exit == 0, done.stderr
    assert (project.root / "said").read_text("utf-8").splitlines() == [
        "--version",
        "install --no-interaction --all-extras --all-groups",
    ]


@pytest.mark.parametrize(
    ("pyproject", "command"),
    [
        ({"project": {"name": "x"}}, "python -m pip install --no-index x pytest"),
        (PYPROJECT, ""),  # no name, no short way
        (
            {"project": {"name": "x", "optional-dependencies": {"test": []}}, "dependency-groups": {"dev": []}},
            "python -m pip install --no-index --group dev x[test] pytest",
        ),
    ],
)
def test_what_has_to_be_there_already(pyproject: Mapping[str, Any], command: str) -> None:
    made = environment.recipe(["pyproject.toml"], pyproject, "")
    assert " ".join(made.again.check if made.again else ()) == command


def test_how_a_project_is_built() -> None:
    bare = environment.recipe(["setup.py"], {"project": {"name": "x"}}, "").again
    assert bare is not None
    assert (bare.build.requires, bare.build.backend) == (("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__")
    system = {"requires": ["hatchling"], "build-backend": "own:backend", "backend-path": ["build"]}
    own = environment.recipe([], {"project": {"name": "x"}, "build-system": system}, "").again
    assert own is not None
    assert (own.build.requires, own.build.backend, own.build.path) == (("hatchling",), "own:backend", ("build",))


def test_fail_fast_is_a_fail_only_beside_a_failure(project: Project) -> None:
    """What the first failure cancelled is no gap in the evidence; what was lost by itself is."""
    project.write({"tests/unit/test_a.py": "def test_a(): assert 0\n", "tests/unit/test_b.py": "def test_b(): pass\n"})
    project.commit()
    assert project.thebes("github", "plan", "--shards", "2", "--out", "plan.json").exit == 0
    tasks = json.loads((project.root / "plan.json").read_bytes())["tasks"]
    names = {piece["file"]: task["id"] for task in tasks for piece in task["pieces"]}

    def decide(artifacts: str, *more: str) -> tuple[int, set[str]]:
        jobs = "plan=success wave-1=failure wave-2=skipped wave-3=skipped wave-4=skipped overflow=skipped"
        told = ["--plan", "plan.json", "--out", "out", "--jobs", jobs]
        return project.thebes("github", "decide", artifacts, *told, *more).exit, set(project.reasons())

    run = ("github", "task", "--plan", "plan.json", "--out")
    assert project.thebes(*run, "red", names["tests/unit/test_a.py"]).exit == 1
    assert decide("red", "--fail-fast") == (1, {"test-failed", "task-cancelled"})
    assert decide("red") == (3, {"test-failed", "record-missing"})
    assert project.thebes(*run, "green", names["tests/unit/test_b.py"]).exit == 0
    assert decide("green", "--fail-fast") == (3, {"record-missing"})
    assert project.thebes(*run, "green", names["tests/unit/test_a.py"]).exit == 1


def test_a_failed_job_with_good_records_is_no_pass(project: Project) -> None:
    project.write({"tests/unit/test_a.py": "def test_a(): pass\n"})
    project.commit()
    assert project.thebes("github", "plan", "--out", "plan.json").exit == 0
    task = json.loads((project.root / "plan.json").read_bytes())["tasks"][0]["id"]
    assert project.thebes("github", "task", task, "--plan", "plan.json", "--out", "artifacts").exit == 0
    jobs = "plan=success wave-1=failure wave-2=skipped wave-3=skipped wave-4=skipped overflow=skipped"
    told = ["--plan", "plan.json", "--out", "out", "--jobs", jobs]
    assert project.thebes("github", "decide", "artifacts", *told).exit == 3
    assert project.reasons() == {"jobs-disagree": ["wave-1: failure, where success was expected"]}


@given(st.lists(st.floats(1, 1e4), max_size=5), st.floats(0, 2e4))
def test_a_further_round_starts_only_if_it_may_fit(seconds: list[float], left: float) -> None:
    rounds = [Round(verdict=VerdictKind.PASS, seconds=one) for one in seconds]
    assert another(rounds, left) == (not rounds or left > max(seconds))


def test_the_verdict_over_rounds_is_the_worst() -> None:
    def over(*words: str) -> str:
        return worst([Round(verdict=VerdictKind(word), seconds=1.0) for word in words])

    assert (over("PASS", "PASS"), over("PASS", "FAIL"), over("INVALID", "FAIL"), over()) == (
        "PASS",
        "FAIL",
        "INVALID",
        "INVALID",
    )


LONG = """
    import os
    import signal
    import pytest

    @pytest.mark.background
    def test_persistence():
        with open("seen", "a") as file:
            file.write(" ".join(os.environ[f"THEBES_{name}"] for name in ("AGENT", "AGENTS", "STRESS", "ENVIRONMENT")))
        os.kill(int(os.environ["BACKGROUND"]), signal.SIGINT)

    @pytest.mark.long_running
    def test_stress(): assert 0

    def test_short(): assert 0
"""


def test_background_suites_and_cancelling_them(project: Project) -> None:
    """The signal that a cancelled job sends to its step's process alone ends the round and all further ones."""
    marks = '[tool.pytest.ini_options]\nmarkers = ["background", "long_running"]\n'
    project.write({"tests/unit/test_a.py": LONG, "pyproject.toml": marks})
    project.commit()
    told = {"THEBES_MINUTES": "5", "THEBES_AGENT": "memory", "THEBES_AGENTS": "3", "THEBES_STRESS": "high"}
    told |= {"THEBES_SCENARIO": "persistence", "THEBES_ENVIRONMENT": "aws", "THEBES_OUT": "out"}
    start = "import os, sys; os.environ['BACKGROUND'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", start, sys.executable, "-m", "thebes", "github", "background"]
    done = project.command(*command, env=told)
    assert done.exit == 3, done.stderr
    assert (project.root / "seen").read_text("utf-8") == "memory 3 high aws"
    rounds = json.loads((project.root / "out" / "rounds.json").read_bytes())
    assert (rounds["verdict"], len(rounds["rounds"])) == ("INVALID", 1)
    assert project.thebes("github", "background", env={**told, "THEBES_MINUTES": "351"}).exit == 2
