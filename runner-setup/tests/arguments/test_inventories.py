"""The example inventories, the first-boot file and provision.sh say what they should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {
    "aws_ec2.yml": "amazon.aws.aws_ec2",
    "gcp.yml": "google.cloud.gcp_compute",
    "azure_rm.yml": "azure.azcollection.azure_rm",
}


def ansible(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **env}
    )


def test_the_place_follows_from_the_group(tmp_path: Path) -> None:
    hosts = {place: {"hosts": {f"in-{place}": None}} for place in ("aws", "gcp", "azure")}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({**hosts, "all": {"hosts": {"in-local": None}}}))
    done = ansible(
        "ansible-inventory", "--inventory", str(tmp_path / "hosts.yml"), "--playbook-dir", str(ROOT), "--list"
    )
    found = json.loads(done.stdout)["_meta"]["hostvars"]
    assert {host: values["runner_place"] for host, values in found.items()} == {
        "in-aws": "aws", "in-gcp": "gcp", "in-azure": "azure", "in-local": "local",
    }  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
def test_dynamic_inventories_use_options_that_their_plugin_has(name: str) -> None:
    values = yaml.safe_load((ROOT / "inventory" / name).read_text())
    assert values["plugin"] == PLUGINS[name]
    done = ansible("ansible-doc", "--type", "inventory", "--json", PLUGINS[name])
    options = json.loads(done.stdout)[PLUGINS[name]]["doc"]["options"]
    known = set(options) | {alias for option in options.values() for alias in option.get("aliases", [])}
    assert set(values) - {"plugin"} <= known


def test_the_static_inventory_can_be_read() -> None:
    done = ansible("ansible-inventory", "--inventory", "inventory/hosts.yml", "--list")
    assert json.loads(done.stdout)["_meta"]["hostvars"]["builder-1"]["runner_instances"] == ["a", "b"]


def test_the_first_boot_file_holds_a_valid_inventory_and_script(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "cloud-init" / "user-data.yml").read_text())
    files = {file["path"]: file for file in values["write_files"]}
    assert (
        yaml.safe_load(files["/etc/thebes-first-boot.yml"]["content"])["all"]["hosts"]["localhost"][
            "ansible_connection"
        ]
        == "local"
    )
    script = tmp_path / "script"
    script.write_text(files["/usr/local/sbin/thebes-first-boot"]["content"])
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert all(file["permissions"] in ("0600", "0700") for file in files.values())


def provision(tmp_path: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """provision.sh with a stand-in of ansible-playbook that prints its arguments and a recap."""
    stand_in = tmp_path / "ansible-playbook"
    stand_in.write_text(
        '#!/bin/bash\necho "ARGUMENTS $*"; stat -c %a "$RUNNER_APP_KEY_FILE"\necho "PLAY RECAP ***"\necho "builder-1 : ok=3 changed=1"\nexit ${CODE:-0}\n'
    )
    stand_in.chmod(0o755)
    summary = tmp_path / "summary"
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = ansible("./provision.sh", PATH=path, GITHUB_STEP_SUMMARY=str(summary), APP_KEY="key", **env)
    return done, summary.read_text() if summary.exists() else ""


def test_provisioning_is_a_dry_run_by_default(tmp_path: Path) -> None:
    done, summary = provision(tmp_path, INVENTORY="hosts.yml")
    assert done.returncode == 0, done.stderr
    assert "ARGUMENTS site.yml --inventory inventory/hosts.yml --check --diff" in done.stdout
    assert "\n600\n" in done.stdout
    assert "dry run" in summary
    assert "builder-1 : ok=3 changed=1" in summary


def test_provisioning_passes_limit_and_tags_and_its_exit_code(tmp_path: Path) -> None:
    done, summary = provision(
        tmp_path, INVENTORY="hosts.yml", LIMIT="a;b", TAGS="runner", CHECK="false", CODE="2"
    )
    assert done.returncode == 2
    assert "--limit a;b --tags runner\n" in done.stdout
    assert "provisioned" in summary


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"INVENTORY": "../x"}, "expected the name of a file"),
        ({"INVENTORY": "no.yml"}, "does not exist; there are"),
        ({"INVENTORY": "hosts.yml", "CHECK": "yes"}, "expected true or false"),
    ],
)
def test_provisioning_refuses_bad_inputs(tmp_path: Path, env: dict[str, str], text: str) -> None:
    done, _ = provision(tmp_path, **env)
    assert done.returncode == 2
    assert text in done.stderr
