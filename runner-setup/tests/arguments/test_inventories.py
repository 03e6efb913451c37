"""The example inventories, the first-boot file and provision.sh say what they should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible_collections
import packaging.requirements
import pytest
import yaml
from test_arguments import GOOD, PLAY, ask

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {
    "aws_ec2.yml": "amazon.aws.aws_ec2",
    "gcp.yml": "google.cloud.gcp_compute",
    "azure_rm.yml": "azure.azcollection.azure_rm",
}


def ansible(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **env})


def test_the_place_follows_from_the_group(tmp_path: Path) -> None:
    hosts = {place: {"hosts": {f"in-{place}": None}} for place in ("aws", "gcp", "azure")}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({**hosts, "all": {"hosts": {"in-local": None}}}))
    done = ansible(
        "ansible-inventory", "--inventory", str(tmp_path / "hosts.yml"), "--playbook-dir", str(ROOT), "--list"
    )
    found = json.loads(done.stdout)["_meta"]["hostvars"]
    # Others have the role's default, `local`.
    assert {host: values["runner_place"] for host, values in found.items() if "runner_place" in values} == {
        "in-aws": "aws", "in-gcp": "gcp", "in-azure": "azure",
    }  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
def test_dynamic_inventories_use_options_that_their_plugin_has(name: str) -> None:
    values = yaml.safe_load((ROOT / "inventory" / name).read_text())
    assert values["plugin"] == PLUGINS[name]
    done = ansible("ansible-doc", "--type", "inventory", "--json", PLUGINS[name])
    options = json.loads(done.stdout)[PLUGINS[name]]["doc"]["options"]
    known = set(options) | {alias for option in options.values() for alias in option.get("aliases", [])}
    assert set(values) - {"plugin"} <= known


# The runners that run, among the machines that tests/doubles/clouds.py has.
FOUND = {
    "aws_ec2.yml": ["i-0001", "i-0004"],
    "gcp.yml": ["builder-1", "builder-4"],
    "azure_rm.yml": ["builder-1", "builder-4"],
}
PLACES = {"aws_ec2.yml": "aws", "gcp.yml": "gcp", "azure_rm.yml": "azure"}


def found(folder: Path, name: str, address: str = "") -> dict[str, dict[str, Any]]:
    """The variables of the machines that an inventory finds, all of them in its cloud's group."""
    text = (ROOT / "inventory" / name).read_text()
    if address:
        text = re.sub(r"(?m)^(  ansible_host: ).*", rf"\g<1>{address}", text)
    (folder / name).write_text(text)
    cloud = PLACES[name]
    done = ansible(sys.executable, "tests/doubles/clouds.py", cloud, str(folder / name), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    # What the plug-in fetched is marked as no template.
    listed = json.loads(done.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))
    assert sorted(listed[cloud]["hosts"]) == sorted(listed["_meta"]["hostvars"])
    # Azure's names are unique within a resource group only; the plug-in adds a part of a digest.
    return {re.sub("_[0-9a-f]{4}$", "", host): values for host, values in listed["_meta"]["hostvars"].items()}


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
@pytest.mark.parametrize("name", PLUGINS)
def test_dynamic_inventories_find_the_running_machines_with_the_tag(tmp_path: Path, name: str, outside: bool) -> None:
    """From outside of the cloud's network with the address that the file's comment names."""
    text = (ROOT / "inventory" / name).read_text()
    other = re.search(r"GitHub's own machines: (\S+) as ansible_host", text)
    assert other
    hosts = found(tmp_path, name, other[1] if outside else "")
    network = "198.51.100" if outside else "10.1.0"
    expected = {host: f"{network}.{host[-1]}" for host in FOUND[name]}
    assert {host: values["ansible_host"] for host, values in hosts.items()} == expected
    assert {values["runner_place"] for values in hosts.values()} == {PLACES[name]}
    assert {values.get("ansible_user") for values in hosts.values()} == {"admin" if PLACES[name] == "aws" else None}


def test_what_a_cloud_says_of_a_machine_is_not_taken_for_settings(tmp_path: Path) -> None:
    hosts = {
        f"{PLACES[name]}-{host}": {**GOOD, **values, "ansible_host": "localhost"}
        for name in PLUGINS
        for host, values in found(tmp_path, name).items()
    }
    assert {"maintenance_options", "networkInterfaces", "powerstate"} <= set().union(*hosts.values())
    assert ask(tmp_path, PLAY, hosts)[0] == {}


def test_the_static_inventory_can_be_read() -> None:
    done = ansible("ansible-inventory", "--inventory", "inventory/hosts.yml", "--list")
    assert json.loads(done.stdout)["_meta"]["hostvars"]["builder-1"]["runner_instances"] == ["a", "b"]


# Stand-ins of all commands that the first boot runs; each notes its name and arguments.
STAND_IN = """#!/bin/bash
echo "$(basename "$0") $*" >>"$NOTES"
case "$(basename "$0") $*" in
  "python3 -c "*) exit "$OLD" ;;
  *" -m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/ansible-playbook" ;;
  "python cloud-init/app_key.py SECRET") echo key ;;
  "git clone "*) mkdir -p "${@: -1}/runner-setup" ;;
  "ansible-playbook "*) head $PLACE/run/thebes-app.pem >>"$NOTES"; pwd >>"$NOTES"; exit "${CODE:-0}" ;;
esac
"""


def first_boot(folder: Path, **env: str) -> tuple[int, list[str]]:
    """The first boot's script, with its absolute paths below a folder; its code, and what it ran."""
    values = yaml.safe_load((ROOT / "cloud-init" / "user-data.yml").read_text())
    script = next(file["content"] for file in values["write_files"] if file["path"].endswith("first-boot"))
    for path in ("/run/", "/opt/", "/etc/"):
        script = re.sub(rf"(?<![\w.]){path}", f"{folder}{path}", script)
    assert set(re.findall(r" (/[a-z]+)/", script)) <= {"/" + folder.parts[1]}
    (folder / "script").write_text(script)
    for name in ("bin", "run", "opt", "etc"):
        (folder / name).mkdir()
    for name in ("apt-get", "git", "python3", "python3.11"):
        (folder / "bin" / name).write_text(STAND_IN)
        (folder / "bin" / name).chmod(0o755)
    own = {"PATH": f"{folder}/bin:/usr/bin:/bin", "NOTES": f"{folder}/notes", "PLACE": str(folder), **env}
    done = subprocess.run(["bash", str(folder / "script")], check=False, env=own, capture_output=True, text=True)
    assert not (folder / "run/thebes-app.pem").exists(), done.stderr
    return done.returncode, (folder / "notes").read_text().replace(f"{folder}/", "/").splitlines()


@pytest.mark.parametrize(("old", "python"), [("0", "python3"), ("1", "python3.11")])
def test_the_first_boot_runs_the_playbook_with_a_python_that_ansible_takes(
    tmp_path: Path, old: str, python: str
) -> None:
    code, ran = first_boot(tmp_path, OLD=old)
    assert code == 0
    packages = ["apt-get install --yes --no-install-recommends python3.11 python3.11-venv"]
    assert ran[1:] == [
        *(packages if old == "1" else []),
        "git clone --depth 1 --branch RELEASE_TAG https://github.com/OWNER/thebes /opt/thebes",
        f"{python} -m venv /opt/thebes-ansible",
        "python -m pip install --quiet --requirement requirements.txt --requirement cloud-init/requirements.txt",
        "python cloud-init/app_key.py SECRET",
        "ansible-playbook --inventory /etc/thebes-first-boot.yml site.yml",
        "key",
        "/opt/thebes/runner-setup",
    ]


def test_a_failed_first_boot_is_a_failure_and_leaves_no_key(tmp_path: Path) -> None:
    assert first_boot(tmp_path, OLD="0", CODE="2")[0] == 2


def test_the_first_boot_file_holds_a_valid_inventory() -> None:
    values = yaml.safe_load((ROOT / "cloud-init" / "user-data.yml").read_text())
    files = {file["path"]: file for file in values["write_files"]}
    host = yaml.safe_load(files["/etc/thebes-first-boot.yml"]["content"])["all"]["hosts"]["localhost"]
    assert host["ansible_connection"] == "local"
    # Each machine may tidy up after all others of the first boot, whose names start so.
    assert host["runner_name_prefix"].startswith(host["maintenance_reap_prefix"])
    assert "{{" not in host["maintenance_reap_prefix"]
    known = {
        name
        for path in ROOT.glob("roles/*/meta/argument_specs.yml")
        for name in yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    }
    assert {key for key in host if not key.startswith("ansible_")} <= known
    assert all(file["permissions"] in ("0600", "0700") for file in files.values())


def provision(tmp_path: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """provision.sh with a stand-in of ansible-playbook that prints its arguments and a recap."""
    stand_in = tmp_path / "ansible-playbook"
    stand_in.write_text(
        '#!/bin/bash\necho "ARGUMENTS $*"; stat -c %a "$RUNNER_APP_KEY_FILE"\n'
        'head $RUNNER_TOKEN_FILE $GOOGLE_APPLICATION_CREDENTIALS </dev/null; echo "SSH $ANSIBLE_SSH_ARGS"\n'
        'cat ${ANSIBLE_SSH_ARGS##*-F } </dev/null; env | grep -E "^(APP_KEY|TOKEN|GOOGLE_KEY|SSH_PRIVATE_KEY)="\n'
        'echo "PLAY RECAP ***"\necho "${RECAP-builder-1 : ok=3 changed=1}"\nexit ${CODE:-0}\n'
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
    done, summary = provision(tmp_path, INVENTORY="hosts.yml", LIMIT="a;b", TAGS="runner", CHECK="false", CODE="2")
    assert done.returncode == 2
    assert "--limit a;b --tags runner\n" in done.stdout
    assert "provisioned" in summary


def test_provisioning_fails_when_there_was_no_machine(tmp_path: Path) -> None:
    done, _ = provision(tmp_path, INVENTORY="aws_ec2.yml", LIMIT="aws", RECAP="")
    assert done.returncode == 3
    assert "no machine was reached: inventory/aws_ec2.yml names none with the limit aws" in done.stderr


def test_provisioning_takes_a_recap_of_any_length(tmp_path: Path) -> None:
    recap = "".join(f"builder-{i} : ok=60 changed=12 unreachable=0 failed=0 skipped=9\n" for i in range(2000))
    done, summary = provision(tmp_path, INVENTORY="hosts.yml", RECAP=recap)
    assert done.returncode == 0, done.stderr
    assert "builder-0 : ok=60" in summary
    assert summary.endswith("\n```\n")


def test_provisioning_hands_over_keys_as_files_only(tmp_path: Path) -> None:
    """The bastion of an `ssh -J` takes its settings from a file, too, and from nothing else."""
    done, _ = provision(
        tmp_path,
        INVENTORY="gcp.yml",
        TOKEN="ghp_1",  # noqa: S106  (of nobody)
        GOOGLE_KEY="{json}",
        SSH_PRIVATE_KEY="ssh",
        SSH_KNOWN_HOSTS="known",
    )
    assert "ghp_1\n" in done.stdout
    assert "{json}\n" in done.stdout
    assert "StrictHostKeyChecking yes" in done.stdout
    assert not [key for key in ("APP_KEY=", "TOKEN=", "GOOGLE_KEY=", "SSH_PRIVATE_KEY=") if f"\n{key}" in done.stdout]


def test_an_inventory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "aws_ec2.yml").write_text("plugin: amazon.aws.aws_ec2\nno_such_option: [")
    done = ansible("ansible-playbook", "--inventory", str(tmp_path / "aws_ec2.yml"), "health.yml")
    assert done.returncode != 0, done.stdout


def test_settings_of_dynamic_inventories_have_a_place(tmp_path: Path) -> None:
    """The example is whole: without its marks of a comment it is what the roles ask for."""
    example = (ROOT / "inventory/group_vars/all.yml").read_text()
    (tmp_path / "group_vars").mkdir()
    text = example.partition("# Instead of the App")[0].replace("# runner_", "runner_")
    (tmp_path / "group_vars/all.yml").write_text(text)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {found: }}")
    done = ansible("ansible-inventory", "--inventory", str(tmp_path / "hosts.yml"), "--host", "found")
    found = json.loads(done.stdout)
    assert found["runner_target"] == "ORGANIZATION"
    assert {"runner_scope", "runner_auth", "runner_app_id", "runner_app_key_file"} <= set(found)


def pins(name: str) -> dict[str, str]:
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line.startswith("#"):
            pin = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
            assert pin, line
            found[pin[1]] = pin[2]
    return found


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_what_a_dynamic_inventory_needs_is_what_its_collection_says(cloud: str) -> None:
    """A newer `ansible` brings newer collections, which may ask for something else."""
    found = pins(f"requirements-{cloud}.txt")
    collections = Path(ansible_collections.__path__[0])
    if cloud == "gcp":  # its requirements are those of its modules; the plug-in has its own
        wanted = ["requests >= 2.18.4", "google-auth >= 1.3.0"]
        plugin = (collections / "google/cloud/plugins/inventory/gcp_compute.py").read_text()
        assert [line for line in wanted if f"- {line}" not in plugin] == []
    else:
        folder = {"aws": "amazon/aws", "azure": "azure/azcollection"}[cloud]
        lines = (collections / folder / "requirements.txt").read_text().splitlines()
        wanted = [line for line in lines if line and not line.startswith("#")]
    assert {packaging.requirements.Requirement(line).name for line in wanted} == set(found)
    for requirement in map(packaging.requirements.Requirement, wanted):
        assert requirement.specifier.contains(found[requirement.name], prereleases=True), requirement


def test_the_workflow_gives_provision_what_it_reads() -> None:
    job = yaml.safe_load((ROOT.parent / ".github/workflows/provision-runners.yml").read_text())["jobs"]["provision"]
    given = {key: value for step in job["steps"] for key, value in step.get("env", {}).items()}
    script = (ROOT / "provision.sh").read_text()
    own = {"CLOUD", *(key for key in given if key.startswith(("AWS_", "AZURE_")))}
    assert {key for key in given if f"${{{key}:" not in script} == own
    page = (ROOT.parent / "docs/runners.md").read_text().replace("`…_", "`RUNNERS_AZURE_")
    secrets = re.findall(r"secrets\.(\w+)", " ".join(given.values()))
    assert [name for name in secrets if f"`{name}`" not in page] == []
    assert not any("${{" in step.get("run", "") for step in job["steps"])
    assert job["permissions"] == {"contents": "read"}
    assert {name for name in PLUGINS if f"'{name}'" in given["CLOUD"]} == set(PLUGINS)
    clouds = re.findall(r"&& '(\w+)'", given["CLOUD"])
    assert [cloud for cloud in clouds if not (ROOT / f"requirements-{cloud}.txt").exists()] == []


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
