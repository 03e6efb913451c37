"""Every tool whose findings are understood, in its present release, on files that it has something to say about."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.project import Project
from thebes.checks.adapt import TOOLS

HERE = Path(__file__).parent
PLACES = (HERE / ".tools", HERE / ".tools" / "venv" / "bin", HERE / "node_modules" / ".bin")
KEY = "AKIA" + "2E7XQ4TKZ5WN3YRH"  # in two parts: this file has no secret
BAD = f"""
import os
import subprocess

count: int = "three"
key = "{KEY}"
subprocess.call("ls " + key, shell=True)
x = [1,2]
"""
WORKFLOW = """
on: issues
jobs:
  greet:
    runs-on: ubuntu-24.04
    steps:
      - run: echo ${{ github.event.issue.title }}
"""
PLAYBOOK = """
---
- name: Prepare
  hosts: all
  tasks:
    - command: touch /tmp/a
"""
HOLE = {
    "id": "PYSEC-2026-1",
    "modified": "2026-01-01T00:00:00Z",
    "summary": "A hole",
    "details": "Names are executed.",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
            "versions": ["1.0"],
        }
    ],
}
# The command of each tool, and what it finds: file, line, rule, severity.
FINDS = {
    "ruff check --isolated .": {("bad.py", 1, "F401", "error")},
    "ruff format --isolated --check .": {("bad.py", 0, "format", "error")},
    "mypy --no-incremental bad.py": {("bad.py", 4, "assignment", "error")},
    "pyright bad.py": {("bad.py", 4, "reportAssignmentType", "error")},
    "basedpyright --level error bad.py": {("bad.py", 4, "reportAssignmentType", "error")},
    "bandit --quiet --recursive .": {("bad.py", 6, "B602", "error")},
    "pip-audit --requirement pins.txt --no-deps --disable-pip --progress-spinner off "
    "--vulnerability-service osv --osv-url {osv}": {("", 0, "PYSEC-2026-1", "error")},
    "detect-secrets scan": {("bad.py", 5, "AWS Access Key", "error")},
    "gitleaks dir --no-banner .": {("bad.py", 5, "aws-access-token", "warning")},
    "zizmor --offline .": {(".github/workflows/bad.yml", 6, "zizmor/template-injection", "error")},
    "actionlint": {(".github/workflows/bad.yml", 6, "expression", "error")},
    "ansible-lint --offline play.yml": {("play.yml", 5, "fqcn[action-core]", "error")},
    "ruff check --isolated --output-format=sarif --output-file {sarif} .": {("bad.py", 1, "F401", "error")},
}
GOOD = {
    "bad.py": '"""Nothing to find."""\n\ncount: int = 3\n',
    ".github/workflows/bad.yml": WORKFLOW.replace("${{ github.event.issue.title }}", "hello") + "permissions: {}\n",
    "play.yml": PLAYBOOK.replace(
        "- command: touch /tmp/a",
        "- name: Make a folder\n      ansible.builtin.file:\n        path: /srv/a\n        state: directory\n"
        "        mode: '0750'",
    ),
    "pins.txt": "sound==1.0\n",
}


@pytest.fixture
def osv() -> Iterator[str]:
    """The query of OSV's interface, as far as pip-audit asks it: one package has a hole."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"vulns": [HOLE]} if asked["package"]["name"] == "leaky" else {}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        server.shutdown()
        thread.join()


def settings(osv: str) -> str:
    checks = [command.replace("{osv}", osv) for command in FINDS]
    return f"[tool.thebes.gates.security]\nchecks = {json.dumps(checks)}\n"


def test_every_tool_is_here() -> None:
    for name, tools in TOOLS.items():
        for tool in tools:
            assert any(words[0] == name and tool.command in (*words, "") for words in map(str.split, FINDS)), name


def test_real_findings_and_real_silence(project: Project, osv: str) -> None:
    """Each tool finds what is there, and says so in words that are understood; and where nothing is, it is content."""
    project.write(
        {
            "tests/test_a.py": "def test_a() -> None:\n    pass\n",
            ".gitignore": "out\n.*_cache\n",
            "bad.py": BAD,
            ".github/workflows/bad.yml": WORKFLOW,
            "play.yml": PLAYBOOK,
            "pins.txt": "leaky==1.0\n",
            "pyproject.toml": settings(osv),
        }
    )
    project.commit()
    path = os.pathsep.join([*map(str, PLACES), project.environment()["PATH"]])
    env = {"PATH": path, "XDG_CACHE_HOME": str(project.root.parent / "cache")}
    assert project.run("--gate", "security", env=env, timeout=600).exit == 1
    assert set(project.reasons()) == {"check-findings", "gate-skipped"}
    plan = json.loads((project.out / "plan.json").read_bytes())
    found: dict[str, set[tuple[str, int, str, str]]] = {}
    for task, *finding in project.query("SELECT task, file, line, rule, severity FROM finding"):
        found.setdefault(task, set()).add(tuple(finding))
    tasks = [task["id"] for task in sorted(plan["tasks"], key=lambda one: one["index"])]
    told = {command: found.get(task, set()) for command, task in zip(FINDS, tasks, strict=True)}
    assert {command: told[command] for command, expected in FINDS.items() if not expected <= told[command]} == {}

    shutil.rmtree(project.out)  # it tells the secret
    project.write(GOOD)
    project.commit()
    clean = project.run("--gate", "security", env=env, timeout=600)
    assert clean.exit == 0, clean.stdout
