"""The workflow provision-runners.yml, run by a real executor (act) against the machine, over SSH."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, Host, copy_repository, settings_of

REPOSITORY = ROOT.parent
WORKFLOW = ".github/workflows/provision-runners.yml"
ACT = REPOSITORY / "tests/workflows/.tools/act"
# The Python that these tests run in, which has the pinned Ansible: pip finds what it is asked for.
SETUP_PYTHON = f"""
name: Stand-in for actions/setup-python
runs:
  using: composite
  steps:
    - run: echo {Path(sys.executable).parent} >>"$GITHUB_PATH"
      shell: bash
"""
CHECKOUT = """
name: Stand-in for actions/checkout, which act does by itself
runs: {using: composite, steps: []}
"""
KEPT = re.compile("PIP_|SSL_|.*_proxy$|(HOME|LANG|PATH|TMPDIR)$", re.IGNORECASE)


class Run(NamedTuple):
    code: int
    summary: str
    log: str


class Workflow:
    """Somebody's copy of the repository, whose inventory names the machine, and the secrets of its environment."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.place = folder / "copy"
        copy_repository(self.place, WORKFLOW, "runner-setup")
        reached = dict(
            line.split(maxsplit=1) for line in Path(os.environ["SSH_CONFIG"]).read_text(encoding="utf-8").splitlines()
        )
        settings = settings_of(host)
        del settings["ansible_ssh_common_args"]
        settings["ansible_host"] = reached["HostName"]
        settings["runner_app_key_file"] = "{{ lookup('env', 'RUNNER_APP_KEY_FILE') }}"  # as docs/runners.md has it
        inventory = {"all": {"children": {"local": {"hosts": {host.name: settings}}}}}
        (self.place / "runner-setup/inventory/mine.yml").write_text(json.dumps(inventory), encoding="utf-8")
        known = Path(reached["UserKnownHostsFile"]).read_text(encoding="utf-8")
        self.secrets = {
            "RUNNERS_SSH_PRIVATE_KEY": Path(reached["IdentityFile"]).read_text(encoding="utf-8").rstrip("\n"),
            "RUNNERS_SSH_KNOWN_HOSTS": known.replace(reached["HostKeyAlias"], reached["HostName"]),
            "RUNNERS_APP_PRIVATE_KEY": Path(settings_of(host)["runner_app_key_file"]).read_text().rstrip("\n"),
        }
        # act takes what ends so for YAML, of which JSON is a part.
        (folder / "secrets.yml").write_text(json.dumps(self.secrets), encoding="utf-8")

    def dispatch(self, **inputs: object) -> Run:
        """Start it by hand with these inputs, and the others as they are by default."""
        event = {"inputs": {"inventory": "mine.yml", **inputs}}
        (self.folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
        command = [str(ACT), "workflow_dispatch", "--workflows", WORKFLOW, "--eventpath", f"{self.folder}/event.json"]
        command += ["--secret-file", f"{self.folder}/secrets.yml", "--platform", "ubuntu-24.04=-self-hosted"]
        command += ["--json", "--no-cache-server", "--action-offline-mode"]
        text = (self.place / WORKFLOW).read_text(encoding="utf-8")
        for action, standin in {"checkout": CHECKOUT, "setup-python": SETUP_PYTHON}.items():
            place = self.folder / action
            place.mkdir(exist_ok=True)
            (place / "action.yml").write_text(standin, encoding="utf-8")
            (used,) = re.findall(rf"uses: (actions/{action}@\w+)", text)
            command += ["--local-repository", f"{used}={place}"]
        environment = {name: value for name, value in os.environ.items() if KEPT.match(name)}
        environment["XDG_CACHE_HOME"] = str(self.folder / "cache")
        done = subprocess.run(
            command, cwd=self.place, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        summary = "".join(line["content"] for line in lines if line.get("command") == "summary")
        log = "\n".join(str(line.get("msg", "")).rstrip("\n") for line in lines) + done.stderr
        told = log + summary
        for secret in self.secrets.values():
            assert not [line for line in secret.splitlines() if line in told and not line.startswith("-----")]
        return Run(done.returncode, summary, log)
