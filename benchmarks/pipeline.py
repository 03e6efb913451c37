"""What the workflow costs beside the tests: the steps of its jobs, run by act, from empty caches and from full ones.

A repository of 2,000 tests in 100 files with real packages to install, one shard, so that no job has another one
beside it. Needs the tools of `make test-workflows`. What GitHub does before a job's first step, and the way of caches
and artifacts through the network, are not in it: here they are read from this machine's disk.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # what runs workflows under act is the tests'

from support.project import Project
from workflows import acting

TESTS, FILES, ROUNDS = 2_000, 100, 3
LIMIT = 15.0  # seconds
TASK = "Run the task"
CALLER = f"""
on: push
permissions: {{}}
jobs:
  gates:
    uses: {acting.GATES}
    permissions:
      contents: read
      actions: read
    with:
      shards: 1
      feed-history: true
"""
PYPROJECT = f"""
[project]
name = "consumer"
version = "1"
[dependency-groups]
test = ["pytest", "pytest-cov", "pytest-xdist", "hypothesis", "sqlalchemy"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["src/consumer"]
[tool.thebes]
python = ["{acting.PYTHON}"]
"""


def consumer(root: Path) -> Project:
    project = Project(root)
    tests = f"import pytest\n\n\n@pytest.mark.parametrize('i', range({TESTS // FILES}))\ndef test_it(i): pass\n"
    project.write(
        {
            ".github/workflows/ci.yml": CALLER,
            "pyproject.toml": PYPROJECT,
            "src/consumer/__init__.py": "",
            ".gitignore": ".venv\n__pycache__\n",
            **{f"tests/unit/test_{number:03}.py": tests for number in range(FILES)},
        }
    )
    project.commit()
    return project


def seconds(ran: acting.Ran) -> dict[tuple[str, str], float]:
    """By job and name, what its steps took; those inside of actions are part of these. Checking out is not ours."""
    found = {}
    for line in ran.log.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        outer = entry.get("stage") == "Main" and "executionTime" in entry and len(entry["stepID"]) == 1
        if outer and "checkout" not in entry["step"]:
            job = entry["job"].rpartition("/")[2].strip()
            found[job, entry["step"]] = entry["executionTime"] / 1e9
    return found


def plain(project: Project) -> tuple[float, float]:
    """Wall and processor time of the same tests without anything around them."""
    began, used = time.perf_counter(), processor()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    subprocess.run(command, cwd=project.root, check=True, capture_output=True)
    return time.perf_counter() - began, processor() - used


def processor() -> float:
    """Seconds that all finished children took so far: what a machine with much else to do does not stretch."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    if not acting.ACT.exists():
        sys.exit("act is missing: make tests/workflows/.tools/ready")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        project = consumer(place / "consumer")
        (place / "store").mkdir()
        act = acting.Act(place / "act", acting.kit(place / "kit"), acting.standins(place / "standins"), place / "store")
        runs, bare, cpu = [], [], []
        for number in range(1, ROUNDS + 2):
            alone, used = plain(project)
            before = processor()
            ran = act.run(project, "push", run=number)
            if ran.exit:
                sys.exit(repr(ran))
            bare.append(alone)
            cpu.append(processor() - before - used)
            runs.append(seconds(ran))
    report(runs, statistics.median(bare))
    print(f"processor time of all, act included, less that of plain pytest: {cpu[0]:.1f} s, {min(cpu[1:]):.1f} s")


def report(runs: list[dict[tuple[str, str], float]], bare: float) -> None:
    cold, *warm = runs
    medians = {step: statistics.median(run[step] for run in warm) for step in cold}
    print(f"{'job: step':52} {'empty caches, s':>16} {'full, s':>9}")
    for (job, step), took in cold.items():
        print(f"{f'{job}: {step}':52} {took:16.2f} {medians[job, step]:9.2f}")
    print(f"{'plain pytest, in the place of the task':52} {'':16} {bare:9.2f}")
    beside = sum(medians.values()) - bare
    print(f"{'the pipeline beside the tests':52} {sum(cold.values()) - bare:16.2f} {beside:9.2f}")
    print(f"to be at most {LIMIT:g} s with full caches: {'held' if beside <= LIMIT else 'not held'}")


if __name__ == "__main__":
    main()
