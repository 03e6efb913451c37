"""Every workflow and action: what GitHub's validator, zizmor and actionlint say, and the rules of this project."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.project import REPOSITORY

HERE = Path(__file__).parent
TOOLS = HERE / ".tools"
FOLDER = REPOSITORY / ".github"
WORKFLOWS = sorted(FOLDER.glob("workflows/*.yml"))
ACTIONS = sorted(FOLDER.glob("actions/*/action.yml"))
FILES = [*WORKFLOWS, *ACTIONS]
LONG = ("uses", "run")
EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def command(*words: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    path = f"{TOOLS}{os.pathsep}{TOOLS / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )


def diagnostics(root: Path, *files: Path) -> list[str]:
    done = command("node", str(TOOLS / "validate.js"), str(root), str(HERE / "standins"), *map(str, files))
    assert done.returncode == 0, done.stderr
    return [f"{found['place']}: {found['message']}" for found in map(json.loads, done.stdout.splitlines())]


def load(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def triggers(document: dict[Any, Any]) -> dict[str, Any]:
    found = document.get("on", document.get(True))  # YAML 1.1 takes `on` for a truth value
    if isinstance(found, dict):
        return found
    return {str(name): {} for name in ([found] if isinstance(found, str) else found or [])}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found = load(path).get("jobs", {})
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    document = load(path)
    for job in document.get("jobs", {}).values():
        yield from job.get("steps", [])
    yield from document.get("runs", {}).get("steps", [])


def test_githubs_own_validator_finds_nothing() -> None:
    assert diagnostics(REPOSITORY, *FILES) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("needs.plan.outputs.wave-1 ", "needs.plans.outputs.wave-1 ", "plans"),
        (
            "          plan-attempt: ${{ needs.plan.outputs.attempt }}\n          minutes",
            "          plan: x\n          minutes",
            "Invalid action input 'plan'",
        ),
        ("$/.github/actions/decide", "$/.github/actions/decided", "decided"),
        ("          name: ${{ inputs.prefix }}", "          nane: ${{ inputs.prefix }}", "Invalid action input 'nane'"),
        ("inputs.task-minutes", "inputs.minutes", "minutes"),
    ],
)
def test_the_validator_would_find_a_mistake(tmp_path: Path, old: str, new: str, said: str) -> None:
    shutil.copytree(FOLDER, tmp_path / ".github")
    path = tmp_path / ".github" / "workflows" / "quality-gates.yml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    found = diagnostics(tmp_path, path)
    assert any(said in line for line in found), found


def test_zizmor_finds_nothing() -> None:
    done = command("zizmor", "--offline", "--pedantic", "--no-progress", "--quiet", str(FOLDER))
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    """In a copy, because it knows neither `$/` nor a queue that is longer than one."""
    shutil.copytree(FOLDER, tmp_path / ".github")
    for path in tmp_path.glob(".github/**/*.yml"):
        text = re.sub(r"\n +queue: max", "", path.read_text("utf-8"))
        path.write_text(text.replace("uses: $/", "uses: ./"), "utf-8")
    command("git", "init", "-q", folder=tmp_path)
    done = command("actionlint", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


@each_file
def test_actions_are_pinned_and_their_versions_told(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        if match := re.match(r"\s*(?:- )?uses: (.+)", line):
            assert re.fullmatch(r"(\$/\S+|\./\S+|[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", match[1]), line


@each_workflow
def test_nothing_is_permitted_that_a_job_does_not_ask_for(path: Path) -> None:
    assert load(path)["permissions"] == {}
    for name, job in jobs(path).items():
        assert isinstance(job.get("permissions"), dict), name
        assert "write" not in job["permissions"].get("contents", ""), name


@each_workflow
def test_jobs_and_long_steps_end(path: Path) -> None:
    for name, job in jobs(path).items():
        if "uses" in job:
            continue  # a called workflow has its own limits
        limit = job["timeout-minutes"]
        for step in job["steps"]:
            quick = str(step.get("uses", "")).startswith(("actions/checkout@", "actions/setup-python@"))
            assert quick or step["timeout-minutes"] <= limit, (name, step)


@each_file
def test_scripts_are_short_and_hold_no_expression(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            assert "${{" not in step["run"], step
            assert len(step["run"].strip().splitlines()) <= 3, step


@each_file
def test_nothing_hides_a_failure(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "continue-on-error" not in text
    assert not re.search(r"\|\| *(true|:|echo|exit 0)|set \+e", text)
    assert "if-no-files-found: ignore" not in text


def test_what_may_run_in_a_container_asks_the_variable_for_its_folder() -> None:
    """There, the expression `runner.temp` names a folder of the host."""
    for path in (FOLDER / "workflows" / "quality-gates.yml", *ACTIONS):
        assert not any("runner.temp" in found for found in EXPRESSION.findall(path.read_text("utf-8"))), path


@each_file
def test_every_input_is_described_typed_and_used(path: Path) -> None:
    document = load(path)
    told = [
        document,
        *(triggers(document).get(kind) or {} for kind in ("workflow_call", "workflow_dispatch") if path in WORKFLOWS),
    ]
    used = set(
        re.findall(
            r"inputs\.([\w-]+)|secrets\.([\w-]+)",
            " ".join(EXPRESSION.findall(path.read_text("utf-8")) + conditions(path)),
        )
    )
    names = {name for pair in used for name in pair if name}
    for part in told:
        for name, given in {**(part.get("inputs") or {}), **(part.get("secrets") or {})}.items():
            assert given["description"], name
            assert name in names, f"{name} is not used"
            if path in WORKFLOWS and name in (part.get("inputs") or {}):
                assert given["type"] in {"string", "number", "boolean", "choice"}, name
        for name, given in (part.get("outputs") or {}).items():
            assert given["description"], name


def conditions(path: Path) -> list[str]:
    return [str(one["if"]) for one in [*steps(path), *jobs(path).values()] if "if" in one]


def test_decide_needs_every_job_and_looks_at_each() -> None:
    found = jobs(FOLDER / "workflows" / "quality-gates.yml")
    decide = found.pop("decide")
    assert set(decide["needs"]) == set(found)
    assert decide["if"] == "always()"
    told = next(step["with"]["jobs"] for step in decide["steps"] if step.get("id") == "decide")
    assert told.split() == [word for job in found for word in f"{job}=${{{{ needs.{job}.result }}}}".split()]


def test_records_are_uploaded_whatever_happens() -> None:
    for name, job in jobs(FOLDER / "workflows" / "quality-gates.yml").items():
        if "strategy" in job:
            upload = job["steps"][-1]
            assert upload["uses"].startswith("actions/upload-artifact@"), name
            assert upload["if"] == "always()"
            assert sum(step.get("timeout-minutes", 0) for step in job["steps"]) <= job["timeout-minutes"]


@each_file
def test_no_two_artifacts_of_a_run_can_have_the_same_name(path: Path) -> None:
    """A name is taken for good: it tells the attempt, and all else that a matrix or a second call would repeat."""
    for step in steps(path):
        if str(step.get("uses", "")).startswith("actions/upload-artifact@"):
            name = step["with"]["name"]
            assert name.endswith("-a${{ github.run_attempt }}"), name
            assert "inputs.prefix" in name or "matrix." in name, name


def starts(job: str, results: dict[str, str], outputs: dict[str, str], *, cancelled: bool = False) -> bool:
    """Whether GitHub would start a job of the workflow, by its own evaluator of conditions."""
    found = jobs(FOLDER / "workflows" / "quality-gates.yml")[job]
    needs = [found["needs"]] if isinstance(found["needs"], str) else found["needs"]
    told = {name: {"result": results[name], "outputs": outputs if name == "plan" else {}} for name in needs}
    asked = [{"condition": str(found["if"]), "needs": told, "inputs": {}, "cancelled": cancelled}]
    done = subprocess.run(
        ["node", str(TOOLS / "evaluate.js")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{TOOLS / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"},
    )
    return bool(json.loads(done.stdout)[0])


FULL = {"wave-1": "{}", "wave-2": "{}", "wave-3": "{}", "wave-4": "{}", "overflow": "{}"}
GREEN = dict.fromkeys(["plan", *FULL], "success")


@pytest.mark.parametrize(
    ("results", "outputs", "expected"),
    [
        (GREEN, FULL, {"wave-1", "wave-2", "wave-3", "wave-4", "overflow"}),
        (GREEN, {"wave-1": "{}"}, {"wave-1"}),
        ({**GREEN, "wave-1": "skipped"}, {"wave-2": "{}"}, {"wave-2"}),
        ({**GREEN, "wave-1": "failure"}, FULL, {"wave-1", "overflow"}),
        ({**GREEN, "wave-3": "failure"}, FULL, {"wave-1", "wave-2", "wave-3", "overflow"}),
        ({**GREEN, "plan": "failure"}, {}, set()),
        ({**GREEN, "plan": "cancelled"}, {}, set()),
        ({**GREEN, "plan": "skipped"}, {}, set()),
    ],
)
def test_which_jobs_start(results: dict[str, str], outputs: dict[str, str], expected: set[str]) -> None:
    assert {job for job in FULL if starts(job, results, outputs)} == expected
    assert starts("decide", results, outputs)


def test_a_cancelled_run_starts_nothing_but_the_decision() -> None:
    assert not any(starts(job, GREEN, FULL, cancelled=True) for job in FULL)
    assert starts("decide", GREEN, FULL, cancelled=True)
