"""Wrong settings are refused in one line that says what to do; needs no machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import preflight
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {
    "runner_target": "acme/product",
    "runner_app_id": "1",
    "runner_app_key_file": "/dev/null",
    "runner_environment": {"_GOOD": "100%", "N": 3},
}
PLAY = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    # All of them are this machine.
    - {ansible.builtin.setup: {gather_subset: [min]}, run_once: true}
    - ansible.builtin.include_role: {name: preflight, tasks_from: settings}
"""
UNFIT_FOLDERS = ("/", "/srv", "/var/tmp", "/home/ci/gh", "/srv/../home", "srv/x")
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"runner_lables": ["x"]}, "unknown setting runner_lables; did you mean runner_labels?"),
    ({"docker_mod": "none"}, "unknown setting docker_mod; did you mean docker_mode?"),
    ({"runner_scope": "team"}, "value of runner_scope must be one of: repository, organization, enterprise, got: team"),
    ({"docker_mode": "podman"}, "value of docker_mode must be one of: rootless, rootful, none, got: podman"),
    ({"watchdog_job_minutes": "six hours"}, "watchdog_job_minutes"),
    ({"runner_ephemeral": "perhaps"}, "runner_ephemeral"),
    ({"runer_target": "x/y"}, "unknown setting runer_target; did you mean runner_target?"),
    ({"watchdgo_job_minutes": 3}, "unknown setting watchdgo_job_minutes; did you mean watchdog_job_minutes?"),
    ({"maintainance_calendar": "daily"}, "did you mean maintenance_calendar?"),
    ({"runner_instances": ["runners"]}, "whose user would need the name of the group thebes-runners"),
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
    ({"runner_environment": {"GOOD": "x", "a b": "x"}}, 'runner_environment has "a b"; expected names of letters'),
    ({"runner_environment": {"NEW\n": "x"}}, 'runner_environment has "NEW'),
    ({"runner_environment": {"1ST": "x"}}, 'runner_environment has "1ST"'),
    ({"runner_environment": {"NUL": "a\0b"}}, 'runner_environment has "NUL"'),
    ({"runner_ephemeral": False, "runner_auth_location": "controller"}, "needs runner_auth_location host"),
    ({"preflight_disk_min_mib": "lots"}, "preflight_disk_min_mib"),
    ({"maintenance_log_max_mib": "x"}, "maintenance_log_max_mib"),
    ({"observability_interval_seconds": "often"}, "observability_interval_seconds"),
    ({"base_packages": {"a": 1}}, "base_packages"),
    ({"base_ca_certificates": ["a/x.pem", "x.crt"]}, 'base_ca_certificates is ["a/x.pem", "x.crt"]; expected files'),
    ({"runner_name_prefix": "x" * 54, "runner_instances": ["a", "bc"]}, "would have 65 characters, GitHub takes 64"),
    ({"runner_allowed_repositories": "acme/product-*"}, "runner_allowed_repositories is text; expected a list"),
    ({"base_ca_certificates": "x.crt"}, "base_ca_certificates is text; expected a list"),
    ({"runner_environment": "A=b"}, "runner_environment is text; expected a dict (in YAML; after --extra"),
    ({"runner_app_key_file": "/nowhere.pem"}, "runner_app_key_file is /nowhere.pem: there is no such file here"),
    ({"runner_auth": "token", "runner_token_file": "/nowhere"}, "runner_token_file is /nowhere: there is no such file"),
    ({"base_ca_certificates": ["/nowhere.crt"]}, "base_ca_certificates has /nowhere.crt: there is no such file here"),
    ({"maintenance_calendar": ""}, 'maintenance_calendar is ""; expected a time that systemd knows'),
    ({"runner_memory_max": "6GB"}, 'runner_memory_max is "6GB"; expected a size as 6G, or nothing for no limit'),
]  # fmt: skip
# What a pure function refuses, by the table of forms; one more is above, to see that it is asked.
UNFIT: list[tuple[dict[str, Any], str]] = [
    *(({"runner_root": path}, "runner_root is") for path in UNFIT_FOLDERS),
    ({"runner_name_prefix": ""}, 'runner_name_prefix is ""; expected letters, digits'),
    ({"maintenance_reap_prefix": ""}, 'maintenance_reap_prefix is ""'),
    ({"runner_memory_max": "6g"}, 'runner_memory_max is "6g"'),
    ({"runner_cpu_quota": "200"}, 'runner_cpu_quota is "200"; expected a percentage of one processor as 200%'),
    ({"docker_build_cache_max": "lots"}, 'docker_build_cache_max is "lots"; expected a size as 10GB'),
    ({"docker_registry_mirrors": ["https://a.test", "b.test"]}, "docker_registry_mirrors; expected addresses"),
    ({"runner_memory_max": "150%"}, 'runner_memory_max is "150%"'),
    ({"docker_log_max_size": "0m"}, 'docker_log_max_size is "0m"'),
    ({"base_https_proxy": "user:hidden@proxy:3128"}, "base_https_proxy; expected an address as http://"),
    ({"runner_version": "latest"}, 'runner_version is "latest"; expected a release'),
    ({"runner_labels": ["gpu", "a,b"]}, 'runner_labels is "a,b"; expected labels without commas'),
    ({"observability_listen": "9100"}, 'observability_listen is "9100"; expected ADDRESS:PORT'),
    ({"runner_backoff_seconds": 0}, "runner_backoff_seconds is 0; expected more than 0"),
    ({"watchdog_job_minutes": -20}, "watchdog_job_minutes is -20; expected more than 0"),
    ({"watchdog_job_minutes": float("nan")}, "watchdog_job_minutes is nan; expected more than 0"),
    ({"watchdog_disk_min_mib": float("nan")}, "watchdog_disk_min_mib is nan; expected 0 or more"),
    ({"runner_blocked_addresses": ["169.254/16"]}, 'runner_blocked_addresses has "169.254/16"; expected addresses or'),
    ({"watchdog_grace_minutes": -1}, "watchdog_grace_minutes is -1; expected 0 or more"),
]  # fmt: skip


# Names of users' own variables: like a role's, or like a setting, but not both.
OWN = ["runners_of_team", "bash_packages", "running_target", "target", "rdocker", "database_packages"]

# What a machine says of itself, what its folders of AppArmor and of control groups are, and what it is told.
MACHINE = {
    "distribution": "Debian", "distribution_version": "12.11", "distribution_major_version": "12",
    "architecture": "x86_64", "service_mgr": "systemd", "memtotal_mb": 4096, "dns": ["127.0.0.53", "fe80::1%eth0"],
}  # fmt: skip
TRIXIE = {"distribution_version": "13.1", "distribution_major_version": "13"}
NOBLE = {"distribution": "Ubuntu", "distribution_version": "24.04", "distribution_major_version": "24"}
MACHINES: list[tuple[str, dict[str, Any], str, str]] = [
    ("debian-12", {}, "bare", ""),
    ("debian-13-arm", {**TRIXIE, "architecture": "aarch64"}, "bare", ""),
    ("ubuntu-24", NOBLE, "profile", ""),
    ("apparmor", NOBLE, "bare", "restricts user namespaces and has no AppArmor profile for rootlesskit"),
    ("dns", {"dns": ["9.9.9.9", "169.254.169.254"]}, "bare",
     "dns asks the name server 169.254.169.254, which runner_blocked_addresses keeps"),
    ("azures-dns", {"dns": ["168.63.129.16"]}, "bare", "azures-dns asks the name server 168.63.129.16, which"),
    ("cgroup-v1", {"limits": True}, "bare",
     "has cgroup v1, on which rootless Docker can't limit a container: boot with systemd.unified_cgroup_hierarchy=1"),
    ("cgroup-v1-rootful", {"limits": True, "docker": "rootful"}, "bare", ""),
    ("cgroup-v1-no-limits", {}, "bare", ""),
    ("cgroup-v2", {"limits": True}, "profile", ""),
    ("fedora", {"distribution": "Fedora", "distribution_version": "42"}, "bare",
     "runs Fedora 42; supported are Debian 12 and 13, Ubuntu 22.04 and 24.04"),
    ("old", {"distribution_version": "11.9", "distribution_major_version": "11"}, "bare",
     "runs Debian 11.9; supported are"),
    ("interim", {**NOBLE, "distribution_version": "24.10"}, "bare", "runs Ubuntu 24.10; supported are"),
    ("power", {"architecture": "ppc64le"}, "bare", "is ppc64le; supported are x86_64 and aarch64"),
    ("moved", {"instances": ["moved"]}, "bare",
     "moved has its runners in /data/ci, runner_root is /srv/not/there/yet: run remove.yml with the runner_root of"),
    ("runit", {"service_mgr": "runit"}, "bare", "is run by runit; systemd is needed"),
]  # fmt: skip
MACHINES_PLAY = """
- hosts: all
  connection: local
  gather_facts: false
  any_errors_fatal: false
  tasks:
    - ansible.builtin.set_fact:
        cacheable: true
        ansible_distribution: "{{ says.distribution }}"
        ansible_distribution_version: "{{ says.distribution_version }}"
        ansible_distribution_major_version: "{{ says.distribution_major_version }}"
        ansible_architecture: "{{ says.architecture }}"
        ansible_service_mgr: "{{ says.service_mgr }}"
        ansible_memtotal_mb: "{{ says.memtotal_mb }}"
        ansible_dns: {nameservers: "{{ says.dns }}"}
    - ansible.builtin.include_role: {name: preflight, tasks_from: system}
    - ansible.builtin.include_role: {name: preflight, tasks_from: settings, public: true}
    - ansible.builtin.include_role: {name: preflight, tasks_from: machine}
    - ansible.builtin.include_role: {name: docker, tasks_from: validate, public: true}
    - ansible.builtin.debug:
        msg: "{{ runner_architecture }} {{ runner_sha256[runner_architecture] }} {{ runner_all_labels | join(',') }}
          {{ (runner_library_packages + docker_extra_packages) | join(',') }}"
"""
Told = tuple[dict[str, str], dict[str, str]]


def ask(
    folder: Path,
    play: str,
    hosts: dict[str, Any],
    *arguments: str,
    path: str = "",
    only: list[str] | None = None,
) -> Told:
    """What each refused machine was told, and the last message of each other one; one run for all."""
    (folder / "play.yml").write_text(play)
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    command = ["ansible-playbook", "--inventory", str(folder / "hosts.yml"), str(folder / "play.yml")]
    env = {
        **os.environ,
        "PATH": path + os.environ["PATH"],
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_FORKS": "4",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    told: dict[str, str] = {}
    said: dict[str, str] = {}
    result = json.loads(done.stdout[done.stdout.index("{") :])
    for task in result["plays"][0]["tasks"]:
        for host, answer in task["hosts"].items():
            if answer.get("failed"):
                told[host] = " ".join(str(answer).split())
            said[host] = str(answer.get("msg", ""))
    assert set(result["stats"]) == set(only or hosts), done.stdout + done.stderr
    return told, said


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each machine was told; all in one run, as each starts the same checks from scratch."""
    hosts = {f"wrong-{i}": {**GOOD, **settings} for i, (settings, _) in enumerate(WRONG)}
    good = {**GOOD, **dict.fromkeys(OWN, "x"), "runner_labels": "{{ ['docker-' ~ docker_mode] }}"}
    return ask(tmp_path_factory.mktemp("arguments"), PLAY, {"good": good, **hosts})[0]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("machines")
    for name in ("bin", "bare", "profile"):
        (folder / name).mkdir()
    (folder / "profile" / "rootlesskit").touch()
    (folder / "profile" / "cgroup.controllers").touch()
    sysctl = folder / "bin" / "sysctl"  # Ubuntu's answer, whatever this machine's kernel is
    sysctl.write_text("#!/bin/sh\necho 1\n")
    sysctl.chmod(0o755)
    getent = folder / "bin" / "getent"
    getent.write_text(
        '#!/bin/sh\necho "$*" | grep -q moved && echo thebes-moved:x:999:999::/data/ci/thebes-moved/home:/ || exit 2\n'
    )
    getent.chmod(0o755)
    hosts = {
        name: {**GOOD, "says": {**MACHINE, **says}, "profiles": str(folder / profiles),
               "runner_instances": says.get("instances", ["a"]),
               "docker_container_limits": says.get("limits", False), "docker_mode": says.get("docker", "rootless"),
               "preflight_disk_min_mib": 1,
               "runner_root": "/srv/not/there/yet"}
        for name, says, profiles, _ in MACHINES
    }  # fmt: skip
    own = ("-e", "preflight_apparmor_folder={{ profiles }}", "-e", "preflight_cgroup_folder={{ profiles }}")
    return ask(folder, MACHINES_PLAY, hosts, *own, path=f"{folder}/bin:")


@pytest.mark.parametrize("name", [m[0] for m in MACHINES])
def test_unfit_machines_are_refused(machines: Told, name: str) -> None:
    expected = next(m[3] for m in MACHINES if m[0] == name)
    told = machines[0].get(name, "nothing")
    assert (expected in told) if expected else (told == "nothing"), told


def test_architecture_labels_checksum_and_packages_follow_from_the_machine(machines: Told) -> None:
    sums = yaml.safe_load((ROOT / "roles/runner/defaults/main.yml").read_text())["runner_sha256"]
    assert sums["x64"] != sums["arm64"]
    said = machines[1]
    assert said["debian-12"].startswith(f"x64 {sums['x64']} self-hosted,Linux,X64,local ")
    assert said["debian-13-arm"].startswith(f"arm64 {sums['arm64']} self-hosted,Linux,ARM64,local ")
    assert "libicu72" in said["debian-12"]
    assert "libicu76" in said["debian-13-arm"]
    assert "docker-compose-v2" in said["ubuntu-24"]


def test_a_machine_that_is_down_does_not_keep_the_others_from_their_turn(tmp_path: Path) -> None:
    """It is named at the end; here the other one is then refused, for one reason or another."""
    down = {"ansible_host": "127.0.0.1", "ansible_port": 9, "ansible_ssh_common_args": "-o ConnectTimeout=5"}
    here = {"ansible_connection": "local", "ansible_become": False, "runner_scope": "team"}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"down": down, "here": here}}}))
    command = ["ansible-playbook", "--inventory", str(tmp_path / "hosts.json"), "site.yml"]
    env = {**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert done.returncode != 0
    assert "fatal: [here]: FAILED!" in done.stdout.partition("TASK [preflight : ")[2]
    recap = re.findall(r"^(\w+) .* unreachable=(\d) +failed=(\d)", done.stdout, re.MULTILINE)
    assert recap == [("down", "1", "0"), ("here", "0", "1")]


def test_good_settings_pass(answers: dict[str, str]) -> None:
    assert "good" not in answers


# The last one's prefix depends on facts, which a run without that machine has not.
SHORT: dict[str, dict[str, Any]] = {
    "web.a": {}, "web.b": {"runner_name_prefix": "b-"}, "web.c": {"runner_target": "acme/other"},
    "web.d": {"runner_name_prefix": "{{ nowhere.hostname }}-"},
}  # fmt: skip


def test_machines_with_the_same_names_of_runners_are_refused(tmp_path: Path) -> None:
    """Also when only one of them is part of the run."""
    short = {name: {**GOOD, **settings} for name, settings in SHORT.items()}
    assert ask(tmp_path, PLAY, short, "--limit", "web.a", only=["web.a"])[0] == {}
    twins = {**short, "web": GOOD}
    told = ask(tmp_path, PLAY, twins, "--limit", "web.a", only=["web.a"])[0]["web.a"]
    assert "web and web.a both call their runners web-… at acme/product" in told


@pytest.mark.parametrize("case", range(len(WRONG)), ids=[json.dumps(w[0])[:50] for w in WRONG])
def test_wrong_settings_are_refused(answers: dict[str, str], case: int) -> None:
    told = answers.get(f"wrong-{case}", "nothing")
    assert WRONG[case][1] in told.replace('\\"', '"').replace("\\'", "'"), told


def defaults() -> dict[str, Any]:
    """What the roles take for what is not set, `x` for what depends on the machine."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text())
    texts = {name: re.sub(r"\{\{.*?\}\}", "x", value) for name, value in found.items() if isinstance(value, str)}
    return found | texts


@pytest.mark.parametrize(("settings", "expected"), [({}, ""), *UNFIT], ids=lambda value: json.dumps(value)[:50])
def test_values_that_cannot_be_meant_so_are_refused(settings: dict[str, Any], expected: str) -> None:
    forms = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["preflight_forms"]
    told = preflight.preflight_misfit({**defaults(), **settings}, forms)
    assert told.startswith(expected)
    assert bool(told) is bool(expected)


@pytest.mark.parametrize("role", sorted(p.name for p in (ROOT / "roles").iterdir()))
def test_every_default_is_specified_and_every_role_is_described(role: str) -> None:
    """An option without specification would be refused as unknown; a wrong default would mislead."""
    folder = ROOT / "roles" / role
    options = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
    assert set(defaults) == set(options)
    for name, option in options.items():
        assert name.startswith(f"{role}_")
        if "default" in option:
            assert option["default"] == defaults[name], name
    readme = (folder / "README.md").read_text()
    assert [name for name in options if f"`{name}`" not in readme] == []
