"""Wrong settings are refused in one line that says what to do; needs no machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {
    "runner_target": "acme/product",
    "runner_app_id": "1",
    "runner_app_key_file": "/dev/null",
}
PLAY = """
- hosts: all
  connection: local
  gather_facts: true
  gather_subset: [min]
  tasks:
    - ansible.builtin.include_role: {name: preflight, tasks_from: settings}
"""
WRONG = [
    ({"runner_lables": ["x"]}, "unknown setting runner_lables; did you mean runner_labels?"),
    ({"docker_mod": "none"}, "unknown setting docker_mod; did you mean docker_mode?"),
    ({"runner_scope": "team"}, "value of runner_scope must be one of: repository, organization, enterprise, got: team"),
    ({"docker_mode": "podman"}, "value of docker_mode must be one of: rootless, rootful, none, got: podman"),
    ({"watchdog_job_minutes": "six hours"}, "watchdog_job_minutes"),
    ({"runner_ephemeral": "perhaps"}, "runner_ephemeral"),
    ({"runner_sha256": {}}, "runner_sha256 has no SHA-256 for"),
    ({"runner_target": "acme"}, 'runner_target is "acme" with runner_scope repository; expected OWNER/NAME'),
    ({"runner_scope": "organization"}, "expected the name of the organization"),
    ({"runner_url": "http://git.acme.test"}, "expected https://HOST without a path"),
    ({"runner_scope": "enterprise", "runner_target": "big"}, "runner_scope enterprise needs runner_auth token"),
    ({"runner_auth": "token"}, "runner_auth is token; set runner_token_file"),
    ({"runner_app_id": ""}, "runner_auth is app; set runner_app_id and runner_app_key_file"),
    ({"runner_instances": ["A b"]}, "expected different names of lower-case letters"),
    ({"runner_instances": ["a", "a"]}, "expected different names of lower-case letters"),
    ({"docker_mode": "rootful", "runner_instances": ["a", "b"]}, "they would see each other's containers"),
    ({"runner_ephemeral": False, "runner_auth_location": "controller"}, "needs runner_auth_location host"),
    ({"preflight_disk_min_mib": "lots"}, "preflight_disk_min_mib"),
    ({"maintenance_log_max_mib": "x"}, "maintenance_log_max_mib"),
    ({"observability_interval_seconds": "often"}, "observability_interval_seconds"),
    ({"base_packages": {"a": 1}}, "base_packages"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each machine was told; all in one run, as each starts the same checks from scratch."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "play.yml").write_text(PLAY)
    hosts = {f"wrong-{i}": {**GOOD, **settings} for i, (settings, _) in enumerate(WRONG)}
    inventory = {"all": {"hosts": {"good": GOOD, **hosts}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    command = ["ansible-playbook", "--inventory", str(folder / "hosts.yml"), str(folder / "play.yml")]
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_FORKS": "4",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    told: dict[str, str] = {}
    result = json.loads(done.stdout[done.stdout.index("{") :])
    for task in result["plays"][0]["tasks"]:
        for host, answer in task["hosts"].items():
            if answer.get("failed"):
                told[host] = " ".join(str(answer).split())
    assert result["stats"]["good"]["ok"] > 0, done.stdout + done.stderr
    return told


def test_good_settings_pass(answers: dict[str, str]) -> None:
    assert "good" not in answers


@pytest.mark.parametrize("case", range(len(WRONG)), ids=[json.dumps(w[0])[:50] for w in WRONG])
def test_wrong_settings_are_refused(answers: dict[str, str], case: int) -> None:
    told = answers.get(f"wrong-{case}", "nothing")
    assert WRONG[case][1] in told.replace('\\"', '"').replace("\\'", "'"), told


@pytest.mark.parametrize("role", sorted(p.name for p in (ROOT / "roles").iterdir()))
def test_every_default_is_specified_and_every_role_is_described(role: str) -> None:
    """An option without specification would be refused as unknown; a wrong default would mislead."""
    folder = ROOT / "roles" / role
    options = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
    assert set(defaults) == set(options)
    for name, option in options.items():
        assert name.startswith(f"{role}_")
        if "default" in option:
            assert option["default"] == defaults[name], name
    readme = (folder / "README.md").read_text()
    assert [name for name in options if f"`{name}`" not in readme] == []
