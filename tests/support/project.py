"""A generated project in a folder of its own, on which the real command is run as a subprocess."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from thebes.merge import RUN_DB

REPOSITORY = Path(__file__).parents[2]
# Nothing else of the environment that the tests run in reaches the command: no CI variables, no active
# environment, no options of the outer pytest.
KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


class Result(NamedTuple):
    """How a command ended."""

    exit: int
    stdout: str
    stderr: str


class Project:
    """`root` is where the command is started; `thebes run` leaves everything in `out`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "out"

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, by path below the root; common indentation and a first empty line are taken off."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).removeprefix("\n"), "utf-8")
            for stale in path.parent.glob(f"__pycache__/{path.stem}.*"):
                stale.unlink()  # a file may be rewritten faster than its time can tell

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """A clean environment in which the Python that runs these tests is the active one."""
        python = Path(sys.prefix, "bin")
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **GIT,
            "PATH": f"{python}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": sys.prefix,
            **(more or {}),
        }

    def command(
        self, *command: str, env: Mapping[str, str] | None = None, timeout: float = 120, folder: Path | None = None
    ) -> Result:
        """Run any command in the root, or in `folder`. `env` is added to the clean environment."""
        done = subprocess.run(
            command,
            cwd=folder or self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def thebes(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120, folder: Path | None = None
    ) -> Result:
        return self.command(sys.executable, "-m", "thebes", *arguments, env=env, timeout=timeout, folder=folder)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """`thebes` with these arguments in a session of its own, for a test that ends it half-way."""
        return subprocess.Popen(
            [sys.executable, "-m", "thebes", *arguments],
            cwd=self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> Result:
        """`thebes run` into `out`."""
        return self.thebes("run", "--out", str(self.out), *arguments, env=env, timeout=timeout)

    def git(self, *arguments: str) -> str:
        done = self.command("git", *arguments)
        assert done.exit == 0, done.stderr
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit everything there is, in a repository that is made when needed; returns the commit."""
        if not (self.root / ".git").exists():
            self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "A state")
        return self.git("rev-parse", "HEAD")

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the run's run.db."""
        with closing(sqlite3.connect(self.out / RUN_DB)) as db:
            return db.execute(sql, values).fetchall()

    def outcomes(self, suite: str | None = None) -> dict[str, str]:
        """Outcome by node id; `suite` must be named where several suites ran the same tests."""
        rows = self.query("SELECT id, outcome FROM test WHERE ?1 IS NULL OR suite = ?1", suite)
        found = dict(rows)
        assert len(found) == len(rows), f"some tests are in run.db several times: {sorted(rows)}"
        return found

    def verdict(self) -> dict[str, Any]:
        found = json.loads((self.out / "verdict.json").read_bytes())
        assert isinstance(found, dict)
        return found

    def reasons(self) -> dict[str, list[str]]:
        """Subjects by code, over all gates and overall; notices, which change nothing, are left out."""
        verdict = self.verdict()
        lists = [verdict["reasons"], *(gate["reasons"] for gate in verdict["gates"].values())]
        found: dict[str, list[str]] = {}
        for reason in (reason for reasons in lists for reason in reasons):
            found.setdefault(reason["code"], []).extend(reason["subjects"])
        return found

    def plain(self, *arguments: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Outcomes of a plain pytest of the same environment, as a witness that is not ours saw them."""
        log = self.root / ".outcomes.json"
        log.unlink(missing_ok=True)
        witness = {"PYTHONPATH": str(REPOSITORY / "benchmarks"), "OUTCOME_LOG": str(log), **(env or {})}
        done = self.command(sys.executable, "-m", "pytest", "-p", "outcome_log", *arguments, env=witness)
        assert log.exists(), done.stdout + done.stderr
        found: dict[str, str] = json.loads(log.read_bytes())
        return found
