"""The workflow, called from another repository, executed by act; each story has its verdict."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.github import serve
from support.project import REPOSITORY
from workflows.acting import COMMIT, OWN, PYTHON, REPOSITORY_NAME, RUNNER, Act, Consumer, Ran, jobs_api, own, pin

UNIT = f"unit-py{PYTHON}"
QUALITY = f"quality-py{PYTHON}-python-m"


def verdict(act: Act, run: int = 1, attempt: int = 1) -> dict[str, Any]:
    """What decide left in the report's artifact."""
    path = act.store / "artifacts" / str(run) / f"report-thebes-a{attempt}" / "verdict.json"
    found = json.loads(path.read_bytes())
    assert isinstance(found, dict)
    return found


def codes(found: dict[str, Any]) -> set[str]:
    lists = [found["reasons"], *(gate["reasons"] for gate in found["gates"].values())]
    return {reason["code"] for reasons in lists for reason in reasons}


def result(ran: Ran, job: str) -> str:
    """act numbers the jobs of a matrix behind their names."""
    found: list[str] = [one.result for name, one in ran.jobs.items() if name == job or name.rpartition("-")[0] == job]
    assert len(found) == 1, (job, list(ran.jobs))
    return found[0]


def log(ran: Ran, start: str) -> str:
    return "\n".join(job.log for name, job in ran.jobs.items() if name.startswith(start))


def test_green(act: Act, consumer: Consumer) -> None:
    ran = act.run(consumer(), "push")
    assert ran.exit == 0, ran
    found = verdict(act)
    assert found["verdict"] == "PASS"
    assert found["gates"]["unit"]["counts"] == {"passed": 2}
    assert {name for name in found["gates"] if found["gates"][name]["verdict"]} == {"unit", "quality"}
    assert "verdict=PASS" in log(ran, "decide")
    shown = log(ran, f"{UNIT}-")
    opened, closed = shown.index("::stop-commands::thebes-"), shown.rindex("::thebes-")
    assert opened < shown.index("PASS in") < closed
    kept = {path.name for path in (act.store / "artifacts" / "1").iterdir()}
    assert kept == {
        f"thebes-{UNIT}-1of2-a1",
        f"thebes-{UNIT}-2of2-a1",
        f"thebes-{QUALITY}-a1",
        "thebes-plan-a1",
        "report-thebes-a1",
    }


def test_what_was_merged_feeds_the_history_and_is_published(act: Act, consumer: Consumer) -> None:
    """This repository's own main.yml, which names everything by `$/`, as a fork of it would."""
    main = own("main.yml").replace("make ci-environment", "python install.py")
    project = consumer(files={".github/workflows/ci.yml": main})
    ran = act.run(project, "push", {"ref": "refs/heads/main"}, arguments=("--var", "PUBLISH_REPORT=true"))
    assert ran.exit == 0, ran
    assert verdict(act)["verdict"] == "PASS"
    assert [path.name for path in (act.store / "caches").glob("thebes-history-*")] == ["thebes-history-thebes-1-1"]
    assert "<title>" in (act.store / "pages" / "index.html").read_text("utf-8")


BESIDE = f"""
on: [pull_request_target, workflow_run]
permissions: {{}}
jobs:
  label:
    if: github.event_name == 'pull_request_target'
    uses: {OWN}/.github/workflows/label.yml@{COMMIT}
    permissions:
      contents: read
      pull-requests: write
  comment:
    if: github.event_name == 'workflow_run'
    uses: {OWN}/.github/workflows/comment.yml@{COMMIT}
    permissions:
      actions: read
      pull-requests: write
"""


def test_label_and_comment(act: Act, consumer: Consumer) -> None:
    labels = '[tool.thebes.labels]\ndatabase = ["db/**"]\n'
    project = consumer(files={".github/workflows/ci.yml": BESIDE, "pyproject.toml": labels})
    place = f"/repos/{REPOSITORY_NAME}"
    with serve(
        {
            f"GET {place}/pulls/7/files": [{"filename": "db/1.sql"}],
            f"GET {place}/issues/7/labels": [],
            f"POST {place}/issues/7/labels": [],
        }
    ) as github:
        pull = {"number": 7, "pull_request": {"number": 7, "base": {"sha": COMMIT}}}
        ran = act.run(project, "pull_request_target", pull, env={"GITHUB_API_URL": github.url})
    assert ran.exit == 0, ran
    assert github.sent == [(f"POST {place}/issues/7/labels", {"labels": ["database"]})]

    report = act.store / "artifacts" / "41" / "report-thebes-a2"
    report.mkdir(parents=True)
    found = {"schema": 1, "plan": "p", "commit": COMMIT, "verdict": "PASS", "gates": {}}
    (report / "verdict.json").write_text(json.dumps(found), "utf-8")
    run = {"id": 41, "run_attempt": 2, "event": "pull_request", "conclusion": "success"}
    head = {"head_sha": COMMIT, "head_branch": "change", "head_repository": {"owner": {"login": "somebody"}}}
    with serve(
        {
            f"GET {place}/pulls": [{"number": 7, "head": {"sha": COMMIT}}],
            f"GET {place}/issues/7/comments": [],
            f"POST {place}/issues/7/comments": {},
        }
    ) as github:
        told = {"GITHUB_API_URL": github.url}
        ran = act.run(project, "workflow_run", {"workflow_run": {**run, **head, "html_url": "https://x"}}, env=told)
    assert ran.exit == 0, ran
    ((_, sent),) = github.sent
    assert "PASS" in sent["body"]


RERUN = f"""
on: workflow_dispatch
permissions: {{}}
jobs:
  wave-1:
    name: TASK
    runs-on: {RUNNER}
    steps:
      - uses: actions/checkout@{pin("checkout")}
      - uses: {OWN}/.github/actions/setup@{COMMIT}
        with:
          install: python install.py
      - uses: {OWN}/.github/actions/run-task@{COMMIT}
        with:
          task: TASK
          plan-attempt: 1
      - uses: actions/upload-artifact@{pin("upload-artifact")}
        if: always()
        with:
          name: thebes-TASK-a${{{{ github.run_attempt }}}}
          path: ${{{{ runner.temp }}}}/thebes-records/thebes-TASK-a${{{{ github.run_attempt }}}}
          if-no-files-found: error
  decide:
    needs: wave-1
    if: always()
    runs-on: {RUNNER}
    steps:
      - uses: actions/checkout@{pin("checkout")}
      - uses: {OWN}/.github/actions/setup@{COMMIT}
        with:
          environment: "false"
      - uses: {OWN}/.github/actions/decide@{COMMIT}
        with:
          jobs: >-
            plan=success wave-1=${{{{ needs.wave-1.result }}}}
            wave-2=skipped wave-3=skipped wave-4=skipped overflow=skipped
          plan-attempt: 1
"""


def test_a_failing_test_and_a_rerun_that_mends_it(act: Act, consumer: Consumer) -> None:
    mended = act.store / "mended"
    test = f"import pathlib\ndef test_two(): assert pathlib.Path({str(mended)!r}).exists()\n"
    project = consumer(files={"tests/unit/test_b.py": test})
    ran = act.run(project, "push")
    assert ran.exit == 1
    assert verdict(act)["verdict"] == "FAIL"
    assert codes(verdict(act)) == {"test-failed"}
    assert "::error file=tests/unit/test_b.py,line=2" in log(ran, "decide")

    # "Re-run failed jobs", as GitHub does it: the plan and the other tasks' records are of attempt 1, their jobs did
    # not start again, and only the REST API tells which did.
    plan = json.loads((act.store / "artifacts" / "1" / "thebes-plan-a1" / "plan.json").read_bytes())
    task = next(one["id"] for one in plan["tasks"] if any("test_b" in piece["file"] for piece in one["pieces"]))
    other = f"{UNIT}-{3 - int(task[-4])}of2"
    project.write({".github/workflows/rerun.yml": RERUN.replace("TASK", task)})
    mended.touch()
    with jobs_api({f"gates / {task}": 2, f"gates / {other}": 1, f"gates / {QUALITY}": 1}) as url:
        again = act.run(project, "workflow_dispatch", attempt=2, env={"GITHUB_API_URL": url})
    assert again.exit == 0, again
    assert verdict(act, attempt=2)["verdict"] == "PASS"
    assert codes(verdict(act, attempt=2)) == {"test-flaky"}

    # A third attempt whose runner was lost: what passed before is not what happened last.
    project.write(
        {
            ".github/workflows/rerun.yml": RERUN.replace("TASK", task).replace(
                "if: always()\n        with", "if: false\n        with"
            )
        }
    )
    with jobs_api({f"gates / {task}": 3, f"gates / {other}": 1, f"gates / {QUALITY}": 1}) as url:
        lost = act.run(project, "workflow_dispatch", attempt=3, env={"GITHUB_API_URL": url})
    assert lost.exit == 1
    assert "attempt-without-record" in codes(verdict(act, attempt=3))


def test_a_failing_check(act: Act, consumer: Consumer) -> None:
    ran = act.run(consumer(files={"tests/data/broken.py": "def (:\n"}), "push")
    assert ran.exit == 1
    assert (verdict(act)["verdict"], codes(verdict(act))) == ("FAIL", {"check-failed"})
    assert result(ran, QUALITY) == "failure"


def test_a_shard_that_dies(act: Act, consumer: Consumer) -> None:
    # The test kills what started it: `thebes task` itself, as an out-of-memory killer would.
    killer = "import os, signal\ndef test_two(): os.kill(os.getppid(), signal.SIGKILL)\n"
    ran = act.run(consumer(files={"tests/unit/test_b.py": killer}), "push")
    assert ran.exit == 1
    assert verdict(act)["verdict"] == "INVALID"
    assert "record-cut" in codes(verdict(act))
    assert verdict(act)["gates"]["unit"]["counts"]["passed"] >= 1


def test_a_plan_that_fails(act: Act, consumer: Consumer) -> None:
    project = consumer()
    project.write({"pyproject.toml": "[tool.thebes]\nshard = 2\n"})
    project.commit()
    ran = act.run(project, "push")
    assert ran.exit == 1
    assert "unknown key 'shard'; did you mean 'shards'?" in log(ran, "plan")
    assert set(ran.jobs) >= {"plan", "decide"}
    assert not any(name.startswith(UNIT) for name in ran.jobs)
    assert (verdict(act)["verdict"], codes(verdict(act))) == ("INVALID", {"plan-missing"})


def test_a_gate_that_the_change_does_not_concern(act: Act, consumer: Consumer) -> None:
    project = consumer()
    settings = (project.root / "pyproject.toml").read_text("utf-8")
    project.write({"pyproject.toml": settings + 'changes = ["**/*.py"]\n'})
    base = project.commit()
    project.git("checkout", "-q", "-b", "change")
    project.write({"notes.txt": "changed"})
    project.commit()
    project.git("checkout", "-q", "-b", "merged", base)
    project.git("merge", "-q", "--no-ff", "-m", "Merge", "change")
    same = {"repo": {"full_name": "a/b"}}
    ran = act.run(project, "pull_request", {"pull_request": {"head": same, "base": {**same, "sha": base}}})
    assert ran.exit == 0, ran
    found = verdict(act)
    assert found["verdict"] == "PASS"
    assert found["gates"]["quality"]["verdict"] is None
    assert found["gates"]["quality"]["reasons"][0]["subjects"] == ["no changed file concerns it"]
    assert not any(name.startswith(QUALITY) for name in ran.jobs)


def test_waves_and_what_a_failure_keeps_from_starting(act: Act, consumer: Consumer) -> None:
    project = consumer({"waves": "true", "shards": "1"}, {"tests/unit/test_b.py": "def test_two(): assert 0\n"})
    ran = act.run(project, "push")
    assert ran.exit == 1
    assert not any(name.startswith(QUALITY) for name in ran.jobs)
    assert (verdict(act)["verdict"], codes(verdict(act))) == ("FAIL", {"test-failed", "task-cancelled"})


SETTINGS = """
    import os
    import sys

    def test_the_secret(): assert os.environ["TOKEN"] == "s3cret value"
    def test_the_folder(): assert os.path.basename(os.getcwd()) == "service"
    def test_the_argument(pytestconfig): assert pytestconfig.option.tbstyle == "line"
    def test_no_way_to_the_runner(): assert not {"GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH"} & set(os.environ)
    def test_it_is_not_shown(): print(os.environ["TOKEN"])
"""


def test_inputs_reach_the_tests(act: Act, consumer: Consumer) -> None:
    project = consumer(
        {
            "working-directory": "service",
            "pytest-args": "-s --tb=line",
            "gates": "unit",
            "shards": "1",
            "prefix": "kit-b",
            "coverage": "40",
            "install": "python -m pip install --quiet pytest pytest-cov",
        },
        {
            "service/tests/test_settings.py": SETTINGS,
            "service/pyproject.toml": "[tool.coverage.run]\nsource = ['.']\n",
        },
    )
    workflow = project.root / ".github" / "workflows" / "ci.yml"
    workflow.write_text(
        workflow.read_text("utf-8") + "    secrets:\n      env-file: ${{ secrets.ENV_FILE }}\n", "utf-8"
    )
    ran = act.run(project, "push", arguments=("--secret", 'ENV_FILE=TOKEN="s3cret value"'))
    assert ran.exit == 0, ran
    assert "s3cret value" not in log(ran, "unit")
    assert 'counts={"passed": 5}' in log(ran, "decide")
    report = act.store / "artifacts" / "1" / "report-kit-b-a1"
    assert json.loads((report / "verdict.json").read_bytes())["gates"]["unit"]["coverage"] == 100.0
    assert (report / ".coverage").is_file()


def test_cancelling_a_job_reaches_the_task(consumer: Consumer, tmp_path: Path) -> None:
    """GitHub runs a step's script in a bash of its own and signals that process alone; act can't show it."""
    meeting = tmp_path / "meeting"
    os.mkfifo(meeting)
    waits = f"import time\ndef test_two():\n    open({str(meeting)!r}, 'w').close()\n    time.sleep(600)\n"
    project = consumer(files={"tests/unit/test_b.py": waits})
    plan, out = project.root / "plan.json", project.root / "artifacts"
    assert project.thebes("plan", "--gate", "unit", "--shards", "1", "--out", str(plan)).exit == 0
    action = yaml.safe_load((REPOSITORY / ".github" / "actions" / "run-task" / "action.yml").read_text("utf-8"))
    script = project.root / "script.sh"
    script.write_text(action["runs"]["steps"][-1]["run"], "utf-8")
    told = {"THEBES_TASK": "1/1", "THEBES_PLAN": str(plan), "THEBES_OUT": str(out), "THEBES_MINUTES": "5"}
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
        cwd=project.root,
        env=project.environment(told),
        stdout=subprocess.DEVNULL,
    ) as step:
        meeting.read_bytes()  # returns once the test has begun
        step.send_signal(signal.SIGINT)
        assert step.wait(timeout=60) == 3
    (record,) = out.glob("*/record.jsonl")
    closing = json.loads(record.read_text("utf-8").splitlines()[-1])
    assert (closing["kind"], closing["stopped"]) == ("closing", "SIGINT")
    assert closing["seconds"] < 60


BACKGROUND = f"""
on: workflow_dispatch
permissions: {{}}
jobs:
  agents:
    uses: {OWN}/.github/workflows/background-agents.yml@{COMMIT}
    permissions:
      contents: read
    with:
      minutes: 1
      agent-types: '["memory", "api"]'
      agents: 3
      scenario: persistence
      stress: high
      environments: '[{{"name": "here", "runner": "{RUNNER}"}}]'
      install: python install.py
"""
AGENT = """
    import os
    import pytest

    @pytest.mark.long_running
    def test_persistence():
        told = [os.environ[f"THEBES_{name}"] for name in ("AGENTS", "STRESS", "ENVIRONMENT", "SCENARIO")]
        assert told == ["3", "high", "here", "persistence"]
        assert os.environ["THEBES_AGENT"] == "memory"

    @pytest.mark.background
    def test_other(): raise AssertionError("another scenario")
"""


def test_background_agents(act: Act, consumer: Consumer) -> None:
    """A minute's budget: every input reaches the tests, which hold for one kind of agent and fail for the other."""
    marks = '[tool.pytest.ini_options]\nmarkers = ["background", "long_running"]\n'
    files = {".github/workflows/ci.yml": BACKGROUND, "tests/unit/test_b.py": AGENT, "pyproject.toml": marks}
    ran = act.run(consumer(files=files), "workflow_dispatch")
    assert ran.exit == 1
    artifacts = act.store / "artifacts" / "1"
    found = {}
    for agent in ("memory", "api"):
        told = json.loads((artifacts / f"background-{agent}-here-a1" / "rounds.json").read_bytes())
        found[agent] = told["verdict"]
        assert sum(one["seconds"] for one in told["rounds"]) < 90
        assert (artifacts / f"background-{agent}-here-a1" / "round-1" / "report.html").is_file()
    assert found == {"memory": "PASS", "api": "FAIL"}
