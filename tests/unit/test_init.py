"""`thebes init`: what it sees, proposes, writes and leaves alone."""

import json
import tomllib

import pytest
import yaml

from support.github import TOKEN, serve
from support.project import Project
from thebes.config import parse
from thebes.init import configuration, look, protection, workflow

FIRST, SECOND = f"somebody/thebes@{'1' * 40}", f"somebody/thebes@{'2' * 40} # v2.0.0"
PYPROJECT = """
    # kept as it is
    [project]
    name = "x"
    classifiers = [
      "Programming Language :: Python :: 3",
      "Programming Language :: Python :: 3.9",
      "Programming Language :: Python :: 3.13",
      "Programming Language :: Python :: 3.12",
    ]
    [dependency-groups]
    dev = ["ruff>=0.1", "pip_audit", {include-group = "docs"}]
    docs = ["mypy-extensions"]
"""
COMPOSE = """
services:
  db:
    image: "docker.io/library/postgres:16-alpine"
  cache:
    image: redis:7.4
  other:
    image: example/postgres-exporter:1
"""


@pytest.fixture
def repository(project: Project) -> Project:
    project.write(
        {
            "pyproject.toml": PYPROJECT,
            "compose.yml": COMPOSE,
            "uv.lock": "",
            "tests/unit/test_a.py": "def test_a(): pass\n",
            "tests/database/test_b.py": "def test_b(): pass\n",
        }
    )
    project.commit()
    project.git("remote", "add", "origin", "git@github.com:somebody/x.git")
    return project


def test_what_it_sees(repository: Project) -> None:
    found = look(repository.root)
    assert (found.pythons, found.others) == (("3.12", "3.13"), ("3.9",))
    assert found.gates == ("unit", "database")
    assert (found.lock, found.repository) == ("uv.lock", "somebody/x")
    assert found.tools == ("ruff", "pip-audit")
    assert found.services == {"postgres": ("16",), "redis": ("7.4",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]\ntimeout = 300\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = ['--timeout=300']\n"),
        ("setup.cfg", "[tool:pytest]\ntimeout = 300\n"),
    ],
)
def test_a_limit_of_pytest_timeout_is_left_alone(project: Project, name: str, text: str) -> None:
    project.write({name: text})
    assert "test-limit" not in configuration(look(project.root), "")


def test_it_shows_then_writes_then_has_nothing_to_do_then_upgrades(repository: Project) -> None:
    shown = repository.thebes("init", "--from", FIRST)
    assert shown.exit == 0
    assert "+[tool.thebes]" in shown.stdout
    assert "--- /dev/null\n+++ b/.github/workflows/gates.yml" in shown.stdout
    assert "left out, as Thebes does not run under them: Python 3.9\n" in shown.stderr
    assert not (repository.root / ".github").exists()
    assert repository.thebes("init", "--from", FIRST, "--write").stdout == shown.stdout
    text = (repository.root / "pyproject.toml").read_text("utf-8")
    assert text.startswith("# kept as it is\n")
    table = tomllib.loads(text)["tool"]["thebes"]
    assert table["gates"]["database"]["services"] == {"postgres": ["16"], "redis": ["7.4"]}
    assert table["required-gates"] == ["unit", "database", "quality", "security"]
    assert table["test-limit"] == "30s"
    assert repository.thebes("init", "--from", FIRST).stderr == "thebes: nothing to change\n"
    path = repository.root / ".github" / "workflows" / "gates.yml"
    path.write_text(path.read_text("utf-8") + "    with:\n      shards: 3\n", "utf-8")
    assert repository.thebes("init", "--from", SECOND, "--write").exit == 0
    job = yaml.safe_load(path.read_text("utf-8"))["jobs"]["gates"]
    assert job["uses"].endswith("@" + "2" * 40)
    assert "# v2.0.0" in path.read_text("utf-8")
    assert job["with"] == {"shards": 3}


OWN_RUNNERS = """
jobs:
  a:
    runs-on: ubuntu-24.04
  b:
    runs-on: [self-hosted, "gpu"]
  c:
    runs-on:
      - self-hosted # ours
      - 'linux'
    steps:
      - run: x
  d:
    runs-on: ${{ inputs.runner }}
  e:
    runs-on: [ 'self-hosted', linux ] # as above
"""


def test_own_runners_are_used_where_they_can_be_reached(repository: Project) -> None:
    """A workflow of another owner can't have them: the way out is a fork."""
    repository.write({".github/workflows/old.yml": OWN_RUNNERS})
    assert look(repository.root).labels == ("self-hosted", "linux")
    other = repository.thebes("init", "--from", FIRST.replace("somebody", "elsewhere"))
    assert "fork elsewhere/thebes into somebody, and give --from somebody/thebes@COMMIT" in other.stderr
    assert "runner:" not in other.stdout
    assert "fork" not in repository.thebes("init", "--from", FIRST, "--write").stderr
    job = yaml.safe_load((repository.root / ".github/workflows/gates.yml").read_text("utf-8"))["jobs"]["gates"]
    assert json.loads(job["with"]["runner"]) == ["self-hosted", "linux"]
    repository.write({".github/workflows/old.yml": OWN_RUNNERS.replace("self-hosted", "ubuntu-latest")})
    assert look(repository.root).labels == ()


def test_a_configuration_that_is_there_stays(repository: Project) -> None:
    for own in ("[tool.thebes]\n", "[tool.thebes.gates.unit]\ncoverage = 3\n", "[[tool.thebes.quarantine]]\n"):
        assert configuration(look(repository.root), own) == own
    assert parse(configuration(look(repository.root), ""), "p").python == ("3.12", "3.13")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--from : expected the kit's repository at a commit, as in OWNER/thebes@000"),
        (("--from", "somebody/thebes@v1"), "--from somebody/thebes@v1: expected"),
        (("--from", FIRST, "--apply"), "--apply, --queue: only with --protection"),
    ],
)
def test_what_is_refused(project: Project, arguments: tuple[str, ...], said: str) -> None:
    done = project.thebes("init", *arguments)
    assert done.exit == 2
    assert said in done.stderr


def test_somebody_elses_workflow_of_that_name_is_not_touched(project: Project) -> None:
    project.write({".github/workflows/gates.yml": "on: push\n"})
    done = project.thebes("init", "--from", FIRST, "--write")
    assert done.exit == 2
    assert "calls no quality-gates.yml" in done.stderr
    assert (project.root / ".github/workflows/gates.yml").read_text("utf-8") == "on: push\n"


def test_the_ruleset_requires_the_check_that_there_is(repository: Project) -> None:
    call = yaml.safe_load(workflow(FIRST, "", look(repository.root)))["jobs"]
    assert list(call) == ["gates"]
    with serve({"POST /repos/somebody/x/rulesets": {}}) as github:
        env = {"GITHUB_API_URL": github.url, "GITHUB_TOKEN": TOKEN}
        done = repository.thebes("init", "--protection", "--queue", "--apply", env=env)
    assert done.exit == 0, done.stderr
    ((_, sent),) = github.sent
    assert sent == protection(queue=True)
    assert sent["rules"][0]["parameters"]["required_status_checks"] == [{"context": "gates / decide"}]
    assert json.loads(repository.thebes("init", "--protection").stdout) == protection(queue=False)
