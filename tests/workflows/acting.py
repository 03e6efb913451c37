"""Runs the workflows under act, on this machine, as a repository from outside would call them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from support.github import serve
from support.project import GIT, REPOSITORY, Project

HERE = Path(__file__).parent
ACT = HERE / ".tools" / "act"
OWN = "thebes-ci/thebes"
REPOSITORY_NAME = "somebody/consumer"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATES = f"{OWN}/.github/workflows/quality-gates.yml@{COMMIT}"
USES = re.compile(r"uses: (actions/[\w-]+)[\w/-]*@([0-9a-f]{40})")
RUNNER = "ubuntu-24.04"
PYTHON = "{}.{}".format(*sys.version_info[:2])
Consumer = Callable[..., Project]
# The jobs of a matrix write to the same memory of act without a lock (its race detector tells of eight places), and
# now and then one finds half a string there, which ends act. One of its threads at a time, and none interrupted in
# the middle; what the jobs start is not concerned.
ALONE = {"GOMAXPROCS": "1", "GODEBUG": "asyncpreemptoff=1"}
CRASHED = re.compile(r"^(?:panic|fatal error|unexpected fault address)\b.*", re.MULTILINE | re.DOTALL)
# A job that runs on this machine must not take it for GitHub's, nor find what belongs to whoever runs the tests.
KEPT = (
    "HOME",
    "LANG",
    "TMPDIR",
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)


class Job(NamedTuple):
    """A job that act ran: how it ended and what its steps printed."""

    result: str
    log: str


class Ran(NamedTuple):
    """A run of a workflow: exit code of act, jobs by name, the raw log."""

    exit: int
    jobs: dict[str, Job]
    log: str

    def __repr__(self) -> str:
        """What a person needs to see when a test fails: not the whole log."""
        told = "\n".join(f"--- {name}: {job.result}\n{job.log[-3000:]}" for name, job in self.jobs.items())
        return f"act ended with {self.exit}\n{told or self.log[-3000:]}"


def kit(place: Path) -> Path:
    """A copy of what GitHub would fetch of this repository."""
    for folder in (".github", "ci", "requirements"):
        shutil.copytree(REPOSITORY / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in place.glob(".github/**/*.yml"):
        file.write_text(resolved(file.read_text("utf-8")), "utf-8")
    return place


def resolved(text: str) -> str:
    """What `$/` means, which act does not know: this repository at the commit of the file that says it. A queue that
    is longer than one, which it does not know either, is left out."""
    text = re.sub(r"uses: \$/(\S+)", rf"uses: {OWN}/\1@{COMMIT}", text)
    return re.sub(r"\n +queue: max", "", text)


def own(name: str) -> str:
    """One of this repository's own workflows."""
    return resolved((REPOSITORY / ".github" / "workflows" / name).read_text("utf-8"))


def standins(place: Path) -> dict[str, Path]:
    """Stand-ins for GitHub's actions, by the name and commit that the workflows use."""
    texts = [path.read_text("utf-8") for path in (REPOSITORY / ".github").glob("**/*.yml")]
    found = {}
    for action, commit in sorted({pair for text in texts for pair in USES.findall(text)}):
        source = HERE / "standins" / action.removeprefix("actions/")
        if source.is_dir():
            target = place / source.name
            shutil.copytree(source, target, dirs_exist_ok=True)
            shutil.copyfile(HERE / "standins" / "standin.py", target / "standin.py")
            found[f"{action}@{commit}"] = target
    return found


class Act:
    """act, with a store that stands for GitHub's caches and artifacts. `shared`: caches that several tests may use."""

    def __init__(self, folder: Path, kit: Path, actions: Mapping[str, Path], store: Path) -> None:
        self.folder = folder
        self.kit = kit
        self.actions = actions
        self.store = store

    def run(
        self,
        consumer: Project,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        run: int = 1,
        attempt: int = 1,
        env: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        timeout: float = 900,  # a limit for what hangs, not for what a loaded machine makes slow
    ) -> Ran:
        """Run the consumer's workflows for an event, as attempt `attempt` of the workflow run `run`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "event.json"
        path.write_text(json.dumps(payload or {}), "utf-8")
        local = {f"{OWN}@{COMMIT}": self.kit, **self.actions}
        told = {
            "STANDIN_STORE": str(self.store),
            "GITHUB_REPOSITORY": REPOSITORY_NAME,
            "GITHUB_RUN_ID": str(run),
            "GITHUB_RUN_ATTEMPT": str(attempt),
            **(env or {}),
        }
        command = [str(ACT), event, "--eventpath", str(path), "-P", f"{RUNNER}=-self-hosted", "--json"]
        command += ["--no-cache-server", "--action-offline-mode", "--secret", "GITHUB_TOKEN=none", *arguments]
        command += [word for name, place in local.items() for word in ("--local-repository", f"{name}={place}")]
        command += [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | GIT
        environment |= {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(self.folder / "cache"), **ALONE}
        done = subprocess.run(
            command, cwd=consumer.root, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        crash = CRASHED.search(done.stderr)
        assert not crash, crash[0][:3000]
        return Ran(done.returncode, _jobs(done.stdout), done.stdout + done.stderr)


def _jobs(log: str) -> dict[str, Job]:
    """Jobs by the last part of their names."""
    results: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        name = str(entry.get("job", "")).rpartition("/")[2].strip()
        if not name:
            continue
        lines.setdefault(name, []).append(str(entry.get("msg", "")).rstrip("\n"))
        if "jobResult" in entry:
            results[name] = entry["jobResult"]
    return {name: Job(results.get(name, ""), "\n".join(text)) for name, text in lines.items()}


def pin(action: str) -> str:
    """The commit of one of GitHub's actions that the workflows use."""
    texts = [path.read_text("utf-8") for path in (REPOSITORY / ".github").glob("**/*.yml")]
    pins: dict[str, str] = dict(pair for text in texts for pair in USES.findall(text))
    return pins[f"actions/{action}"]


@contextmanager
def jobs_api(attempts: Mapping[str, int]) -> Iterator[str]:
    """GitHub's API that tells the newest attempt of each job of run 1; its address."""
    jobs = [{"name": name, "run_attempt": number, "conclusion": "success"} for name, number in attempts.items()]
    with serve({f"GET /repos/{REPOSITORY_NAME}/actions/runs/1/jobs": {"jobs": jobs}}) as github:
        yield github.url
