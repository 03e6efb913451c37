"""The playbooks against a machine in use: refusals, drain, other modes, and removal at the end."""

from __future__ import annotations

import http.server
import json
import os
import re
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import (
    GitHub,
    Host,
    Jobs,
    instance_of,
    interrupt,
    play,
    recovered,
    settings_of,
    start,
    wait_for,
    wait_ready,
)
from provisioning import Workflow

# Wrong settings are refused without a machine: tests/arguments. These need one.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "memory": ({"preflight_memory_min_mib": 999999999}, "use fewer runner_instances, more memory"),
    "route": ({"runner_url": "https://nowhere.test"}, "can't reach https://nowhere.test"),
    "clock": ({}, "set up time synchronization"),
    "cgroup": ({"docker_container_limits": True}, "systemd.unified_cgroup_hierarchy=1"),
}
PREFLIGHT = """
- hosts: all
  gather_facts: true
  any_errors_fatal: false
  roles: [preflight]
"""
REMOVE = """
- hosts: all
  become: true
  gather_facts: true
  tasks:
    - name: Remove one runner
      ansible.builtin.include_role:
        name: runner
        tasks_from: remove_instance
      vars:
        runner_instance: a
"""


def test_preflight_refuses_what_the_machine_is_not_fit_for(host: Host, github: GitHub, tmp_path: Path) -> None:
    """All refusals in one run, each for an alias of the machine."""
    settings = {**settings_of(host), "ansible_host": host.name}
    hosts = {name: {**settings, "runner_name_prefix": f"{name}-", **wrong} for name, (wrong, _) in REFUSED.items()}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(PREFLIGHT)
    github.call("set", {"date_skew": 3600})
    done = play(str(tmp_path / "play.yml"), inventory=str(tmp_path / "hosts.json"), check=False)
    github.call("set", {"date_skew": 0})
    told = " ".join(done.stdout.split()).replace("''", "'")  # as YAML has it
    expected = {name: text for name, (_, text) in REFUSED.items()}
    if host.code("test -e /sys/fs/cgroup/cgroup.controllers") == 0:
        expected["cgroup"] = expected["clock"]  # such a machine is fit, and only its clock is off
    for name, text in expected.items():
        answer = told.partition(f"[{name}]: FAILED!")[2].partition("FAILED!")[0]
        assert text in answer, done.stdout[-6000:]
    assert not re.search(r"changed=[1-9]", done.stdout)


def registered(host: Host) -> set[str]:
    """The names under which the machine's runners are registered now."""
    states = host.run("jq --raw-output .runner_name /var/lib/thebes-runner/*/state.json")
    return set(states.split())


# Files, packages and users; contents of what the kit wrote; what runs since when. Without processes that come and go.
STATE = """
/root/inventory.sh | grep -vE '^(/srv/|[0-9]+ )'
find /etc/thebes-runner /etc/systemd /usr/local /srv/thebes-runner/releases -type f -exec sha256sum {} + | sort
systemctl show --property=Id,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic thebes-firewall thebes-watchdog \
  thebes-metrics.timer thebes-maintenance.timer thebes-runner@a thebes-runner@b thebes-job@a thebes-job@b
"""


# An image for which 8 MB were built that nothing needs any more; then as long as that is kept (the machine's settings
# allow 1 MB, which the daemon sees to once a minute).
BUILD = """DOCKER_BUILDKIT=1 docker build - <<'E'
FROM thebes-small AS big
RUN head -c 8000000 /dev/zero >/big
FROM thebes-small
COPY --from=big /bin/busybox /copy
E
"""
SHRINK = """unused() { docker system df --format '{{.Type}} {{.Reclaimable}}' | grep ^Build; }
unused | grep MB
while unused | grep -q MB; do sleep 1; done
"""


@pytest.mark.usefixtures("both")
def test_a_dry_run_on_the_provisioned_machine_changes_nothing(
    jobs: Jobs, host: Host, github: GitHub, tmp_path: Path
) -> None:
    """What provision-runners.yml does by default, and the other playbooks too, while a job runs."""
    idle = {instance: wait_ready(github, instance) for instance in ("a", "b")}
    if host.run("thebes-runner refresh --if-changed"):  # other tests have started things with settings of their own
        for instance, before in idle.items():
            recovered(github, instance, before)
    job = jobs.submit(BUILD, SHRINK, "until test -e /tmp/enough; do sleep 0.1; done")
    at_work = jobs.started(job, "Run unused")["runner"]
    state, names = host.run(STATE), registered(host)
    workflow = Workflow(tmp_path, host)
    ran = workflow.dispatch()
    assert ran.code == 0, ran.log[-6000:]
    assert "Runners: dry run" in ran.summary
    assert re.search(rf"{host.name} .* changed=0 .* failed=0 ", ran.summary), ran.summary
    assert differing(state, host.run(STATE)) == []
    for name in ("drain.yml", "remove.yml"):
        done = play(name, "--check", "--diff")
        assert "failed=0" in done.stdout, name
        assert "changed=0" not in done.stdout, name
        assert differing(state, host.run(STATE)) == [], name
    jobs.started(job, "Run until")
    assert host.code("ls /var/lib/thebes-runner/*/drain") != 0
    assert registered(host) == names == {at_work, *github.ready("a"), *github.ready("b")}

    file = "/etc/thebes-runner/maintenance.json"
    kept = host.run(f"sha256sum {file} && rm {file}")
    ran = workflow.dispatch(limit=host.name, tags="maintenance", check=False)
    assert "Runners: provisioned" in ran.summary
    assert re.search(rf"{host.name} .* changed=1 .* failed=0 ", ran.summary), ran.summary
    assert host.run(f"sha256sum {file}") == kept
    ran = workflow.dispatch(limit="nobody")
    assert (ran.code, "leaves us with no hosts to target" in ran.log) == (1, True), ran.log[-6000:]
    host.run(f"touch /srv/thebes-runner/thebes-{instance_of(at_work)}/tmp/enough")
    ended = jobs.done(job)
    assert ended["conclusion"] == "success", ended["log"]


def differing(before: str, after: str) -> list[str]:
    return sorted(set(before.splitlines()) ^ set(after.splitlines()))


@pytest.mark.usefixtures("both")
def test_changed_settings_of_docker_reach_idle_runners_and_leave_a_job_alone(
    jobs: Jobs, host: Host, github: GitHub
) -> None:
    files = (
        "docker run --name {} thebes-small true && docker inspect --format '{{{{.HostConfig.LogConfig.Config}}}}' {}"
    )
    before, after = (files.format(name, name) for name in ("before", "after"))
    busy = jobs.submit(f"{before}; touch /tmp/began; until test -e /tmp/enough; do sleep 0.1; done; {after}")
    at_work = instance_of(jobs.started(busy)["runner"])
    folder = f"/srv/thebes-runner/thebes-{at_work}/tmp"
    wait_for(lambda: host.code(f"test -e {folder}/began") == 0, "the job's first container has run")
    (idle,) = {"a", "b"} - {at_work}
    waiting = wait_ready(github, idle)
    play("site.yml", "--tags", "docker", "-e", "docker_log_max_files=7")
    recovered(github, idle, waiting)
    told = jobs.run(after)
    assert instance_of(told["runner"]) == idle
    assert "max-file:7" in told["log"]
    host.run(f"touch {folder}/enough")
    state = jobs.done(busy)
    assert state["conclusion"] == "success", state["log"]
    assert state["log"].count("max-file:3") == 2


def test_what_a_run_that_ended_half_way_has_changed_is_taken_up_by_the_next(host: Host) -> None:
    """Which finds nothing left to change, and yet lets what runs hear of it."""
    more = ("--tags", "runner", "-e", json.dumps({"runner_blocked_addresses": ["169.254.0.0/16", "203.0.113.0/24"]}))
    interrupt("site.yml", "runner : Make the folder of ", *more)
    rules = "nft list table inet thebes_runner"
    assert "203.0.113.0/24" not in host.run(rules)
    play("site.yml", *more)
    assert "203.0.113.0/24" in host.run(rules)


@pytest.mark.usefixtures("both")
def test_a_runner_that_is_no_longer_wanted_finishes_its_job(jobs: Jobs, host: Host, github: GitHub) -> None:
    submitted = [jobs.submit("until test -e /tmp/enough; do sleep 0.1; done") for _ in range(2)]
    by_instance = {instance_of(jobs.started(job, "Run until")["runner"]): job for job in submitted}
    enough = "touch /srv/thebes-runner/thebes-{}/tmp/enough"
    with start("site.yml", "--tags", "runner", "-e", json.dumps({"runner_instances": ["a"]})) as run:
        wait_for(lambda: host.code("test -e /var/lib/thebes-runner/b/drain") == 0, "it is asked to take no more")
        host.run(enough.format("b"))
        told = run.communicate()[0]
    assert run.returncode == 0, told[-6000:]
    assert jobs.state(by_instance["b"])["conclusion"] == "success"
    assert host.code("id thebes-b") != 0
    assert jobs.state(by_instance["a"])["status"] == "in_progress"
    host.run(enough.format("a"))
    assert jobs.done(by_instance["a"])["conclusion"] == "success"


def test_drain_finishes_the_job_and_takes_no_more(jobs: Jobs, host: Host, github: GitHub) -> None:
    job = jobs.submit("sleep 5; echo finished in peace")
    jobs.started(job, "Run sleep")
    before = registered(host)
    play("drain.yml")
    state = jobs.state(job)
    assert state["conclusion"] == "success"
    assert "finished in peace" in state["log"]
    assert before.isdisjoint(r["name"] for r in github.runners())
    assert host.health("a")["phase"] == "drained"
    assert host.code("systemctl is-enabled thebes-runner@a") != 0

    # Back to work with other settings: there is a new label, and images stay from job to job; containers and volumes
    # still don't.
    waiting = jobs.submit("docker run --detach --volume kept:/kept thebes-small sleep 4326", labels=("new-label",))
    changed = {"runner_labels": ["new-label"], "runner_instances": ["a"], "docker_keep_images": True}
    play("site.yml", "--tags", "runner", "-e", json.dumps(changed))
    first = jobs.done(waiting)
    assert first["conclusion"] == "success", first["log"]
    assert not registered(host) & before
    second = jobs.run(
        'docker image inspect thebes-small; test -z "$(docker ps --all --quiet)$(docker volume ls --quiet)"'
    )
    assert second["conclusion"] == "success", second["log"]

    # They go by upkeep: when they are old, or when the disk is low.
    recovered(github, "a", second["runner"])
    images = f"DOCKER_HOST=unix:///run/user/{host.uid('a')}/docker.sock docker images --quiet thebes-small"
    host.run("systemctl start thebes-maintenance")
    assert host.run(images) != ""
    file = "/etc/thebes-runner/maintenance.json"
    host.run(f"cp -p {file} {file}.before; jq '.disk_min_mib = 999999999' {file}.before > {file}")
    host.run(f"systemctl start thebes-maintenance; mv {file}.before {file}")
    assert host.run(images) == ""


def test_controller_keeps_the_credentials_of_an_enterprise(
    host: Host, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One one-time configuration for one job; nothing on the host could mint another. The token is in a vault.
    The runner is one without Docker."""
    (tmp_path / "password").write_text("open sesame")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    token = tmp_path / "token"
    subprocess.run(["ansible-vault", "encrypt", "--output", str(token), os.environ["FILES"] + "/token"], check=True)
    (tmp_path / "wrong").write_text("ghp_wrong")
    # The name github.test is known on the machine only.
    settings = {
        "runner_instances": ["a"], "runner_auth_location": "controller", "runner_url": github.url,
        "runner_scope": "enterprise", "runner_target": "big", "runner_auth": "token", "runner_token_file": str(token),
        "docker_mode": "none",
    }  # fmt: skip
    extra = ["-e", json.dumps(settings), "--tags", "docker,runner"]
    refused = play("site.yml", *extra, "-e", f"runner_token_file={tmp_path}/wrong", check=False).stdout
    assert "answered 401" in refused
    assert "ghp_wrong" not in refused
    play("site.yml", *extra)
    assert host.run("ls /etc/thebes-runner/secrets") == ""
    wait_ready(github, "a")
    second = play("site.yml", *extra)
    assert "changed=0" in second.stdout, second.stdout[-3000:]
    name = registered(host).pop()
    assert f"{name}: online" in play("smoke.yml", "--verbose", *extra[:2]).stdout
    jobs = Jobs(github, host)
    job = jobs.run(
        'test -z "$DOCKER_HOST" && test ! -e /run/user/$(id -u)/docker.sock && test ! -e /var/run/docker.sock'
    )
    assert job["conclusion"] == "success", job["log"]
    assert host.code("pgrep dockerd") == 1  # there is none
    wait_for(
        lambda: "run site.yml from the controller" in host.health("a")["last_error"],
        "it waits for the controller",
    )
    play("site.yml", *extra)
    wait_ready(github, "a")
    scopes = {r["name"]: r["scope"] for r in github.runners()}
    assert [scopes[name] for name in registered(host)] == ["enterprises/big"]
    name = registered(host).pop()
    (tmp_path / "remove.yml").write_text(REMOVE)
    play(str(tmp_path / "remove.yml"), *extra[:2])
    assert name not in [r["name"] for r in github.runners()]


class Proxy(http.server.BaseHTTPRequestHandler):
    """An HTTP proxy that remembers what it was asked for; it passes on what is encrypted (CONNECT)."""

    asked: ClassVar[list[str]] = []

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        name, _, port = self.path.rpartition(":")
        address = os.environ["GATEWAY"] if name == "github.test" else name
        with socket.create_connection((address, int(port)), 20) as server:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: server, server: self.connection}
            while ready := select.select(list(ends), [], [], 20)[0]:
                for end in ready:
                    if not (data := end.recv(65536)):
                        return
                    ends[end].sendall(data)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The list is the log."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    """It lives until the runner behind it is removed, too."""
    server = http.server.ThreadingHTTPServer((os.environ["GATEWAY"], 0), Proxy)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{os.environ['GATEWAY']}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def certificate(place: Path) -> str:
    """A certificate authority that nobody needs."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", "/CN=Other"]
    command += ["-keyout", os.devnull, "-out", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    return str(place)


# Whether it is among those that the machine trusts.
OTHER_TRUSTED = (
    "openssl crl2pkcs7 -nocrl -certfile /etc/ssl/certs/ca-certificates.crt | openssl pkcs7 -print_certs -noout"
    " | grep -qE 'CN ?= ?Other$'"
)
BUILDERS = 2  # the id of the group that the machine's settings name, in the fake GitHub

# What a job leaves in its work folder and in Docker, and how the next one finds nothing of it.
LEFT_BEHIND = (
    "touch left; docker run --rm --volume $PWD:/w thebes-small sh -c 'mkdir -p /w/by-root/d; touch /w/by-root/d/f'",
    "docker run --detach --volume kept:/kept thebes-small sleep 4327; docker network create net",
)
# A persistent runner keeps this.
LEFT_AT_HOME = "touch ~/left; env --unset=RUNNER_TRACKING_ID setsid sleep 4331 >/dev/null 2>&1 &"
NOTHING_LEFT = (
    "test ! -e left; test ! -e by-root",
    'test -z "$(docker ps -aq)$(docker volume ls -q)$(docker images -q)$(docker network ls -q --filter name=net)"',
    "! pgrep --full 'sleep 432[7]'",
)


def test_persistent_runner_of_a_repository_with_a_token_behind_a_proxy(
    host: Host, github: GitHub, proxy: str, tmp_path: Path
) -> None:
    """All the other choices at once, two jobs on one registration; then rootful Docker for an organization's group
    and one certificate less, then other labels."""
    trusted = list(settings_of(host)["base_ca_certificates"])
    settings = {
        "runner_instances": ["a"], "runner_scope": "repository", "runner_target": "acme/product",
        "runner_auth": "token", "runner_ephemeral": False, "base_https_proxy": proxy,
        "base_ca_certificates": [*trusted, certificate(tmp_path / "other.pem")],
    }  # fmt: skip
    play("site.yml", "-e", json.dumps(settings))
    assert host.succeeds(OTHER_TRUSTED)
    jobs = Jobs(github, host)
    name = wait_ready(github, "a")
    first = jobs.run("docker info 2>&1 | grep -w rootless", *LEFT_BEHIND, LEFT_AT_HOME)
    assert first["conclusion"] == "success", first["log"]
    second = jobs.run(*NOTHING_LEFT, "test -e ~/left; pgrep --full 'sleep 433[1]'")
    assert second["conclusion"] == "success", second["log"]
    assert first["runner"] == second["runner"] == name

    settings |= {"docker_mode": "rootful", "runner_scope": "organization", "runner_target": "acme"}
    settings |= {"base_ca_certificates": trusted, "base_http_proxy": proxy, "base_no_proxy": "localhost,direct.test"}
    play("site.yml", "-e", json.dumps(settings))
    assert not host.succeeds(OTHER_TRUSTED)
    assert host.succeeds(OTHER_TRUSTED.replace("Other", "Thebes test CA"))
    name = wait_ready(github, "a")
    registrations = [(r["scope"], r["runner_group_id"]) for r in github.runners() if r["name"] == name]
    assert registrations == [("orgs/acme", BUILDERS)]
    assert "github.test:8443" in Proxy.asked  # the supervisor's calls
    Proxy.asked.clear()
    through = jobs.run(
        "docker pull thebes-small; curl --silent --fail https://github.test:8443/api/v3/meta http://plain.test",
        "curl http://direct.test 2>&1 | grep 'Could not resolve host: direct.test'",
    )
    assert through["conclusion"] == "success", through["log"]
    asked = {"github.test:8443", "http://plain.test/", f"{os.environ['GATEWAY']}:5000"}  # the job's, Docker's
    assert asked <= set(Proxy.asked)
    reach = "docker run --rm thebes-small nc -w 5 {} 80 </dev/null"
    with host.served_beyond("169.254.169.254", "198.51.100.7"):
        first = jobs.run(
            "docker info --format '{{.SecurityOptions}}' | grep -v rootless",
            *LEFT_BEHIND,
            f"! {reach.format('169.254.169.254')}",
            reach.format("198.51.100.7"),
            "docker run --rm --volume /root:/root thebes-small touch /root/by-a-job",  # it is root
        )
    host.run("rm /root/by-a-job")
    assert first["conclusion"] == "success", first["log"]
    second = jobs.run(*NOTHING_LEFT)
    assert second["conclusion"] == "success", second["log"]
    assert first["runner"] == second["runner"] == name
    github.call("forget", {"prefix": name})
    wait_for(lambda: host.health("a")["registrations_lost"] and github.ready("a"), "it registers again by itself")
    busy = jobs.submit("sleep 60")  # for about as long as the playbook takes, which leaves it alone
    jobs.started(busy, "Run sleep")
    play("site.yml", "--tags", "runner", "-e", json.dumps({**settings, "runner_labels": ["changed"]}))
    assert jobs.done(busy)["conclusion"] == "success"
    assert jobs.run("true", labels=("changed",))["conclusion"] == "success"


@pytest.fixture
def provisioned(github: GitHub) -> None:
    """There is a runner to remove, whichever tests ran before."""
    if not github.ready(""):
        play("site.yml")
        wait_for(lambda: github.ready(""), "a runner is online and idle")


@pytest.mark.usefixtures("provisioned")
def test_a_removal_that_github_does_not_answer_says_what_is_left(host: Host, github: GitHub) -> None:
    """It stops at the first runner, so that the machine still has what the next try needs."""
    names = "|".join(map(re.escape, registered(host)))
    target = host.run("jq --raw-output .github.target /etc/thebes-runner/runner.json")
    github.call("faults", [{"match": r"/actions/runners/\d+", "status": 500, "count": 1000}])
    done = play("remove.yml", check=False)
    github.call("faults", [])
    assert done.returncode != 0
    told = " ".join(done.stdout.split())
    left = rf"the registration ({names}) \(id \d+\) is left at {re.escape(target)}: .* answered 500"
    assert re.search(left, told), told[-6000:]
    assert host.run("find /etc/thebes-runner/secrets -type f -size +0")


# A package of somebody else's that needs one of those that the kit installed.
PACKAGE = """
mkdir -p /tmp/theirs/DEBIAN
printf 'Package: theirs\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDepends: jq\\nDescription: x\\n' \\
  > /tmp/theirs/DEBIAN/control
dpkg-deb --build /tmp/theirs /tmp/theirs.deb && dpkg --install /tmp/theirs.deb && rm -r /tmp/theirs*
"""


@pytest.mark.usefixtures("provisioned")
def test_remove_leaves_nothing(host: Host, github: GitHub) -> None:
    """But for what is somebody else's: a package with what it needs, and a file beside the runners. The first try is
    killed when a runner's user is gone and its files are not. What a lost job left at GitHub goes, too."""
    dead = {"scope": github.runners()[0]["scope"], "prefix": "thebes-host-a-dead", "count": 1}
    github.call("dead-runners", dead)
    host.run(PACKAGE)
    host.run("echo theirs > /srv/thebes-runner/notes")
    interrupt("remove.yml", "runner : Delete the files of ")
    told = " ".join(play("remove.yml").stdout.split())
    assert github.runners() == []
    (kept,) = re.findall(rf"{host.name} keeps (\S.*?), which other packages need", told)
    assert "jq" in kept.split(", ")
    assert host.run("echo 1 | jq . && dpkg-query --show --showformat='${db:Status-Abbrev}' theirs").split() == [
        "1",
        "ii",
    ]
    assert host.run("cd /srv/thebes-runner && grep -r .") == "notes:theirs"
    host.run(f"dpkg --purge theirs {kept.replace(',', '')} && rm -r /srv/thebes-runner")
    host.run("/root/inventory.sh > /root/after")
    assert host.call("diff /root/before /root/after").stdout == ""
    again = play("remove.yml")
    assert "failed=0" in again.stdout


def test_one_refused_machine_stops_all_before_anything_is_changed(host: Host, tmp_path: Path) -> None:
    """On a machine that is bare again, under two names."""
    settings = {**settings_of(host), "ansible_host": host.name}
    small = {"preflight_disk_min_mib": 999999999}
    hosts = {
        name: {**settings, "runner_name_prefix": f"{name}-", **more}
        for name, more in {"fit": {}, "small": small}.items()
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    look = "/root/inventory.sh | grep -vE '^[0-9]+ '"  # without processes
    before = host.run(look)
    done = play("site.yml", inventory=str(tmp_path / "hosts.json"), check=False)
    assert done.returncode != 0
    assert re.findall(r"^(\w+) .* changed=0 .* failed=(\d)", done.stdout, re.MULTILINE) == [
        ("fit", "0"),
        ("small", "1"),
    ]
    assert differing(before, host.run(look)) == []


def test_a_docker_of_others_is_left_alone(host: Host) -> None:
    """The last one, on a machine that is still bare: somebody installs Docker, and then tries to provision it."""
    host.run("DEBIAN_FRONTEND=noninteractive apt-get install --yes docker.io")
    host.run("systemctl start docker; docker volume create theirs")
    started = host.run("systemctl show docker -p ActiveEnterTimestampMonotonic")
    for mode, refusal in {"rootless": "rootless mode would stop", "rootful": "deletes all"}.items():
        settings = {"docker_mode": mode, "runner_instances": ["a"]}
        done = play("site.yml", "-e", json.dumps(settings), check=False)
        assert done.returncode != 0
        assert refusal in " ".join(done.stdout.split()), done.stdout[-6000:]
        assert "changed=0" in done.stdout
    assert "failed=0" in play("site.yml", "--check", "-e", "docker_mode=none").stdout
    assert host.run("docker volume ls --quiet") == "theirs"
    assert host.run("systemctl show docker -p ActiveEnterTimestampMonotonic") == started
