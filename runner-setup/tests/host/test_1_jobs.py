"""Jobs on a healthy machine, and what they leave behind."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Figure, GitHub, Host, Jobs, in_url, instance_of, recovered, wait_for, wait_ready

DAEMON = "setsid --fork sleep 4321 </dev/null >/dev/null 2>&1"
# The image thebes-small is at the hosts' mirror only (tests/host/registry.sh): each use is a pull through it.
COMPOSE = """
services:
  web:
    image: thebes-small
    command: httpd -f -p 80 -h /bin
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1/busybox, interval: 1s, retries: 20}
  client:
    image: thebes-small
    depends_on: {web: {condition: service_healthy}}
    command: wget -q -O /shared/copy http://web/busybox
    volumes: [./shared:/shared]
"""
CONTAINERS = """
import os, signal, urllib.request
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy
web = DockerContainer("thebes-small").with_command("httpd -f -p 80 -h /bin").with_exposed_ports(80)
web.waiting_for(HttpWaitStrategy(80, "/busybox")).start()
url = f"http://{web.get_container_host_ip()}:{web.get_exposed_port(80)}/busybox"
print("served", len(urllib.request.urlopen(url, timeout=20).read()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_job_runs_and_the_next_runner_is_a_new_one(jobs: Jobs, github: GitHub, host: Host, figure: Figure) -> None:
    job = jobs.run("id -un; echo $HOME; touch ~/mine", "pwd", labels=("local", "X64", "gpu-none"))
    assert job["conclusion"] == "success", job["log"]
    instance = instance_of(job["runner"])
    assert f"thebes-{instance}" in job["log"]
    figure("job end to ready for the next", recovered(github, instance, job["runner"]))
    assert not host.run(f"ls /srv/thebes-runner/thebes-{instance}/home")
    assert job["runner"] not in [r["name"] for r in github.runners()]


@pytest.mark.usefixtures("both")
def test_idle_memory(jobs: Jobs, host: Host, figure: Figure) -> None:
    """Without the listener, as the stand-in's memory says nothing about GitHub's."""

    def resident(unit: str) -> float:
        pid = host.run(f"systemctl show {unit} -p MainPID --value")
        return int(host.run(f"grep VmRSS /proc/{pid}/status").split()[1]) / 1024

    runner = host.health("a")["memory_mib"] - resident("thebes-job@a")
    assert 0 < runner < 400
    figure("idle memory of a runner: rootless Docker and user manager, without GitHub's listener", runner, "MiB")
    for name, unit in {"a supervisor": "thebes-runner@a", "the watchdog": "thebes-watchdog"}.items():
        figure(f"idle memory of {name}", resident(unit), "MiB")


@pytest.mark.usefixtures("both")
def test_the_blob_is_in_no_process_list_and_in_no_unit(jobs: Jobs, host: Host) -> None:
    commands = host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "eyI" not in commands  # base64 of {"
    assert "JITCONFIG" not in commands
    assert "JITCONFIG" not in host.run("systemctl show 'thebes-job@*' -p Environment")
    assert host.code("test -e /run/thebes-runner/a/listener.env") == 1
    # A negative needs its positive: the listener did get it, where only its user and root can read.
    pid = host.run("systemctl show thebes-job@a -p MainPID --value")
    assert "ACTIONS_RUNNER_INPUT_JITCONFIG=eyI" in host.run(f"tr '\\0' '\\n' < /proc/{pid}/environ")


@pytest.mark.usefixtures("both")
def test_two_instances_work_side_by_side(jobs: Jobs) -> None:
    first = jobs.submit("sleep 3")
    second = jobs.submit("sleep 3")
    states = [jobs.done(first), jobs.done(second)]
    assert {instance_of(s["runner"]) for s in states} == {"a", "b"}
    assert max(s["started"] for s in states) < min(s["finished"] for s in states)


def test_stray_daemons_files_and_services_are_gone_afterwards(
    jobs: Jobs, host: Host, github: GitHub, figure: Figure
) -> None:
    job = jobs.run(
        DAEMON,
        "echo 'exec bash -c \"echo pwned > /tmp/pwned\"' >> ~/.bashrc",
        "mkdir -p ~/.config/systemd/user/default.target.wants",
        "printf '[Service]\\nExecStart=/bin/sleep 4322\\n' > ~/.config/systemd/user/evil.service",
        "ln -s ../evil.service ~/.config/systemd/user/default.target.wants/evil.service",
        "systemd-run --user --unit=stray sleep 4323",
        # Units there would be started with the next job's user manager.
        "mkdir -p $XDG_RUNTIME_DIR/systemd/user/default.target.wants",
        "sed s/4322/4329/ ~/.config/systemd/user/evil.service > $XDG_RUNTIME_DIR/systemd/user/evil2.service",
        "ln -s ../evil2.service $XDG_RUNTIME_DIR/systemd/user/default.target.wants/evil2.service",
        'keyctl add user left secret @u; keyctl add user left secret "$(keyctl get_persistent @s)"',
        'keyctl search @u user left; keyctl search "$(keyctl get_persistent @s)" user left',
        "touch /dev/shm/left /tmp/left /var/tmp/left",
        # A service of the user is less confined than the job.
        "systemd-run --user --pipe --wait --quiet sh -c 'for folder in /dev/shm /dev/mqueue /run/lock /var/crash; do"
        " test ! -w $folder || { touch $folder/by-service && echo $folder/by-service; }; done'",
        "mkdir -p $THEBES_RUNNER_DIR/_work/x/$(printf 'd/%.0s' $(seq 900))",
        "chmod 000 $THEBES_RUNNER_DIR/_work/x",
        'python3 -c \'for i in range(20000): open(f"/tmp/{i:0250}", "w")\'',
    )
    assert job["conclusion"] == "success", job["log"]
    instance = instance_of(job["runner"])
    figure(
        "daemons, services and 20,000 files left behind: job end to ready",
        recovered(github, instance, job["runner"]),
    )
    left = host.run(f"ps -u thebes-{instance} -o args=")
    assert "sleep 43" not in left
    made = re.findall(r"(?m)^/\S+/by-service$", job["log"])
    assert "/dev/shm/by-service" in made
    assert host.call(f"ls -d {' '.join(made)}").stdout == ""
    base = f"/srv/thebes-runner/thebes-{instance}"
    folders = " ".join(f"{base}/{name}" for name in ("home", "tmp", "vartmp", "tools", "runner/_work"))
    found = host.run(f"find {folders} /dev/shm -mindepth 1 2>/dev/null", check=False).splitlines()
    # The new Docker daemon has made its own.
    assert [f for f in found if "rootlesskit" not in f and "/home/.config" not in f] == []
    assert host.code(f"test -e {base}/home/.config/systemd -o -e /run/user/{host.uid(instance)}/systemd/user") == 1
    for keyring in ("@u", '"$(keyctl get_persistent @s)"'):
        asked = host.call(f"runuser -u thebes-{instance} -- keyctl session - sh -c 'keyctl search {keyring} user left'")
        assert "Required key not available" in asked.stderr


def test_the_runners_own_programs_cannot_be_replaced(jobs: Jobs, host: Host) -> None:
    attempts = (
        "mv bin bin2",
        "rm -rf bin",
        "sh -c 'echo x > bin/Runner.Listener'",
        "touch bin/new",
        "chmod 777 .",
    )
    # A step for each: within one, only the last command's `!` would count.
    job = jobs.run(*(f"cd $THEBES_RUNNER_DIR; ! {attempt}" for attempt in attempts))
    assert job["conclusion"] == "success", job["log"]


def test_docker_from_a_job(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    """Rootless daemon; files made by a container's root; the socket mounted into a container."""
    job = jobs.run(
        "docker info 2>&1 | grep -w rootless",
        # What runc is told under cgroup v2 (tests/qemu has a machine with that): whose the service manager is.
        "test $(unshare --user --map-root-user /usr/local/lib/thebes-runner/docker/busctl) = OwnerUID=$(id -u)",
        "docker run -d --name logs thebes-small true",
        "docker inspect -f '{{.HostConfig.LogConfig}}' logs | grep 'max-size:'",
        "docker run --rm -v $PWD:/work thebes-small touch /work/by-root; stat -c %U by-root",
        "docker run --rm -v /tmp:/t thebes-small touch /t/seen; test -e /tmp/seen",
        # A container that reaches the daemon by the path that everybody mounts.
        "docker run --rm -v /var/run/docker.sock:/var/run/docker.sock thebes-small test -S /var/run/docker.sock",
        "docker run -d --name stays thebes-small sleep 4324; docker volume create keep; docker network create net",
    )
    assert job["conclusion"] == "success", job["log"]
    instance = instance_of(job["runner"])
    figure(
        "a container, a volume and a network left behind: job end to ready",
        recovered(github, instance, job["runner"]),
    )
    assert "sleep 4324" not in host.run("ps -e -o args=")
    after = f"DOCKER_HOST=unix:///run/user/{host.uid(instance)}/docker.sock docker"
    assert (
        host.run(f"{after} ps -aq; {after} volume ls -q; {after} images -q; {after} network ls -q --filter name=net")
        == ""
    )


def test_build_with_buildkit(jobs: Jobs) -> None:
    job = jobs.run(
        "printf 'FROM thebes-small\\nRUN --mount=type=cache,target=/c touch /c/x\\n' > Dockerfile",
        "docker build -q -t built . && docker run --rm built id -u",
    )
    assert job["conclusion"] == "success", job["log"]


def test_compose(jobs: Jobs) -> None:
    """A network, a health check that the other service waits for, a folder of the workspace."""
    job = jobs.run(
        f"cat > compose.yml <<'E'\n{COMPOSE}E",
        "mkdir shared; docker compose version >/dev/null 2>&1 && compose='docker compose' || compose=docker-compose;"
        " $compose -f compose.yml up --abort-on-container-exit --exit-code-from client",
        "docker run --rm -v $PWD/shared:/shared thebes-small cmp /bin/busybox /shared/copy",
    )
    assert job["conclusion"] == "success", job["log"]


@pytest.fixture
def testcontainers(host: Host) -> Iterator[str]:
    """Where on the machine the real library of that name lies."""
    library = os.environ["FILES"] + "/library"
    python = host.run("python3 -c 'import sys; print(sys.version_info[0], sys.version_info[1], sep=\".\")'")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", library]
    command += ["--python-version", python, "--only-binary=:all:"]
    command += [f"testcontainers=={importlib.metadata.version('testcontainers')}"]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["docker", "cp", library, f"{host.name}:/opt/library"], check=True, capture_output=True)
    yield "/opt/library"
    host.run("rm -rf /opt/library")


def test_testcontainers(jobs: Jobs, testcontainers: str) -> None:
    """Its helper container mounts the usual socket, and removes what a killed test left behind."""
    # The library takes a machine that is a container itself for the inside of one of its containers.
    environment = (
        f"PYTHONPATH={testcontainers} TESTCONTAINERS_CONNECTION_MODE=docker_host TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1"
    )
    left = "docker ps --all --quiet --filter label=org.testcontainers.session-id --filter ancestor=thebes-small"
    job = jobs.run(
        f"! {environment} python3 - <<'E'\n{CONTAINERS}E",
        f"docker ps; timeout 100 sh -c 'while {left} | grep -q .; do sleep 0.2; done'",
    )
    assert job["conclusion"] == "success", job["log"]
    assert "served" in job["log"]
    assert "testcontainers/ryuk" in job["log"]


def test_jobs_trust_the_ca_bundle(jobs: Jobs, github: GitHub) -> None:
    """So do the supervisor and Docker: without it there would be no job and no image."""
    job = jobs.run(
        f"curl --silent --fail {github.url}/api/v3/meta",
        f"python3 -c 'import urllib.request; urllib.request.urlopen(\"{github.url}/api/v3/meta\")'",
        'grep -q "BEGIN CERTIFICATE" $NODE_EXTRA_CA_CERTS',
    )
    assert job["conclusion"] == "success", job["log"]


def test_root_owned_files_are_removed(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    """Files of other ids inside containers belong to subordinate ids that the user can't delete."""
    job = jobs.run(
        "mkdir d; chmod 777 d; docker run --rm -u 1234 -v $PWD/d:/d thebes-small sh -c 'mkdir /d/own; touch /d/own/f'",
        "! rm -rf d/own",
    )
    assert job["conclusion"] == "success", job["log"]
    instance = instance_of(job["runner"])
    figure("files of other users left behind: job end to ready", recovered(github, instance, job["runner"]))
    assert host.run(f"find /srv/thebes-runner/thebes-{instance}/runner/_work 2>/dev/null", check=False) == ""


def test_a_job_stays_within_its_memory(jobs: Jobs, host: Host, github: GitHub) -> None:
    """runner_memory_max is 1G: the greedy process is killed, the job goes on and reports."""
    job = jobs.run(
        "python3 -c 'x = bytearray(1500 * 1024 * 1024)' && echo too much || echo killed as it should",
        {"run": "echo uploaded", "always": True},
    )
    assert "\nkilled as it should\n" in job["log"]
    assert "\nuploaded\n" in job["log"]
    assert job["conclusion"] == "success"


def test_containers_stay_within_the_memory_of_their_runner(jobs: Jobs) -> None:
    job = jobs.run(
        "! docker run --rm thebes-small dd if=/dev/zero of=/dev/null bs=1500M count=1",
        "docker run --rm thebes-small dd if=/dev/zero of=/dev/null bs=500M count=1",
    )
    assert job["conclusion"] == "success", job["log"]


# What a job tries, by itself and as a service of its user, which is not as confined. {own} and {other} are the two
# runners of the host, {other_uid} is the user of the other.
ATTEMPTS = (
    # Root can do each of these, which shows that they failed for the right reason.
    "cat /etc/thebes-runner/secrets/app.pem",
    "cat /etc/thebes-runner/runner.json",
    "cat /srv/thebes-runner/thebes-{other}/home/secret",
    "ls /srv/thebes-runner/thebes-{other}",
    "ls /run/user/{other_uid}",
    "ls /run/user/{other_uid}/docker.sock",
    "ls /var/lib/thebes-runner/{own}",
    "ls /var/log/thebes-runner/{own}",
    "cat /proc/{supervisor}/environ",
    "nft list ruleset",
    "find /var/log/journal /run/log/journal -name '*.journal' | grep .",
    # Not to be tried by root.
    "DOCKER_HOST=unix:///run/user/{other_uid}/docker.sock docker ps",
    "DOCKER_HOST=unix:///run/docker.sock docker ps",
    "sudo -n true",
    "su -c true",
    "kill -9 1",
    "systemctl stop thebes-watchdog",
    "systemctl stop thebes-runner@{own}",
    "kill -9 {supervisor}",
    "echo x > /etc/cron.d/x",
    "echo x > /usr/local/bin/x",
    "mount -t tmpfs x /mnt",
    "echo '* * * * * true' | crontab -",
    "echo true | at now + 1 hour",
)
BY_ROOT = 11


@pytest.mark.usefixtures("both")
def test_other_secrets_are_out_of_reach(jobs: Jobs, host: Host) -> None:
    """The claims of docs/runner-security.md about one instance against another, at work, and the host."""
    neighbour = jobs.submit("cd; echo secret > secret; chmod 644 secret; echo is there; sleep 300")
    other = instance_of(jobs.started(neighbour, "is there\n")["runner"])
    own = {"a": "b", "b": "a"}[other]
    supervisor = host.run(f"systemctl show thebes-runner@{own} -p MainPID --value")
    attempts = [
        attempt.format(own=own, other=other, other_uid=host.uid(other), supervisor=supervisor) for attempt in ATTEMPTS
    ]
    for attempt in (*attempts[:BY_ROOT], "type sudo su docker crontab at"):
        assert host.code(attempt) == 0, attempt
    service = "systemd-run --user --quiet --pipe --wait --collect"
    job = jobs.run(
        f"{service} true",
        *(
            f"if {start} bash -c {shlex.quote(attempt)} >/dev/null 2>&1 </dev/null; then"
            f" echo 'BROKE' {shlex.quote(attempt)} {start}; exit 1; fi"
            for attempt in attempts
            for start in ("", service)
        ),
        "id -Gn",
    )
    assert job["conclusion"] == "success", job["log"]
    assert instance_of(job["runner"]) == own
    assert "docker" not in job["log"].splitlines()[-2].split()
    for attempt in attempts[:BY_ROOT]:
        assert host.code(attempt) == 0, f"{attempt}: gone while the job tried it"


def test_what_a_job_can_do(jobs: Jobs) -> None:
    """As docs/runner-security.md admits."""
    job = jobs.run(
        "grep clientId ~/../runner/.credentials",
        "getent passwd thebes-a thebes-b; dpkg-query --show nftables",
        "curl --silent --fail http://127.0.0.1:9100/metrics | grep -q node_load1",
        "unshare --user --map-root-user id -u | grep -x 0",
    )
    assert job["conclusion"] == "success", job["log"]


def test_processes_of_others_are_invisible(jobs: Jobs) -> None:
    alone = "test $(ps -e -o uid= | sort -u | wc -l) -eq 1 && ! pgrep -f '[t]hebes-runner watch'"
    job = jobs.run(
        f"ps -e -o uid= | sort -u; {alone}",
        f"systemd-run --user --quiet --pipe --wait --collect bash -c {shlex.quote(alone)}",
        # A container of the host's process namespace, whose /proc/1 is the host's. Debian 12's Docker can't make one.
        "if docker run --rm --pid=host thebes-small ps -o args > seen 2> why;"
        " then grep -q 'ps -o args' seen && ! grep -q 'thebes-runner watch' seen;"
        " else grep -q 'error mounting \"proc\".*not permitted' why; fi",
    )
    assert job["conclusion"] == "success", job["log"]


PACKETS = """
import errno, socket
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError as error:
    exit(error.errno == errno.EAFNOSUPPORT)  # another error than a user's lack of rights
"""
# What the listener's unit forbids, besides what a user can't do anyway; root outside can.
FORBIDDEN = (
    "cp /bin/true x && chmod u+s x",
    "setarch --addr-no-randomize true",
    "ls /dev/net/tun",
    "touch /srv/x",
    f"python3 -c {shlex.quote(PACKETS)}",
)


def test_the_hardening_of_the_unit_is_in_force(jobs: Jobs, host: Host) -> None:
    for attempt in FORBIDDEN:
        assert host.code(f"cd /root; {attempt}") == 0, attempt
    host.run("rm /root/x /srv/x")
    spaces = {name: host.run(f"readlink /proc/1/ns/{name}") for name in ("ipc", "uts")}
    job = jobs.run(
        *(f"! ({attempt})" for attempt in FORBIDDEN),
        "grep 'NoNewPrivs:.1' /proc/self/status; grep 'CapBnd:.0000000000000000' /proc/self/status",
        "findmnt --target /usr --options ro; findmnt --target /etc --options ro",
        *(f"test $(readlink /proc/self/ns/{name}) != {space}" for name, space in spaces.items()),
    )
    assert job["conclusion"] == "success", job["log"]


def test_metadata_addresses_are_blocked_for_jobs_and_containers(jobs: Jobs, host: Host) -> None:
    """Each attempt is made at an address that is not blocked as well, and succeeds there."""
    attempts = (
        "curl --silent --fail --max-time 5 http://{}/hostname",
        "systemd-run --user --wait --pipe curl --silent --fail --max-time 5 http://{}/hostname",
        "docker run --rm thebes-small nc -w 5 {} 80 </dev/null",
        "docker run --rm --network host thebes-small nc -w 5 {} 80 </dev/null",
    )
    over_ipv6 = attempts[:2]  # the containers of a rootless daemon have none
    addresses = {"169.254.169.254": attempts, "168.63.129.16": attempts[:1], "fd00:ec2::254": over_ipv6}
    others = {"198.51.100.7": attempts, "2001:db8:1::7": over_ipv6}
    steps = [f"! {attempt.format(in_url(address))}" for address, tried in addresses.items() for attempt in tried]
    steps += [attempt.format(in_url(address)) for address, tried in others.items() for attempt in tried]
    with host.served_beyond(*addresses, *others):
        job = jobs.run(*steps)
    assert job["conclusion"] == "success", job["log"]


def event(**values: Any) -> dict[str, Any]:
    return {"repository": {"id": 1, "private": True}, **values}


def test_the_hook_refuses_forks_events_and_public_repositories(jobs: Jobs, github: GitHub) -> None:
    fork = event(pull_request={"head": {"repo": {"id": 2}}, "base": {"repo": {"id": 1}}})
    refused: list[dict[str, Any]] = [
        {"event_name": "pull_request", "event": fork},
        {"event_name": "pull_request_target"},
        {"event": {"repository": {"id": 1, "private": False}}},
        {"repository": "evil/product"},
        # The workflow's own env must not reach the hook.
        {
            "event_name": "issue_comment",
            "env": {"BASH_ENV": "/dev/null", "BASH_FUNC_exec%%": "() { exit 0; }"},
        },
    ]
    # A failed hook alone would not keep steps of the second kind from running.
    steps = ("echo STEP RAN", {"run": "echo STEP RAN", "always": True})
    ids = [jobs.submit(*steps, **values) for values in refused]
    for job in ids:
        state = jobs.done(job)
        assert state["conclusion"] == "failure", state["log"]
        assert "::error title=Refused by this runner::" in state["log"]
        assert "STEP RAN" not in state["log"].replace("Run echo STEP RAN", "")
    own = event(pull_request={"head": {"repo": {"id": 1}}, "base": {"repo": {"id": 1}}})
    assert jobs.run("true", event_name="pull_request", event=own)["conclusion"] == "success"


def test_metrics_and_health_tell_of_a_running_job(jobs: Jobs, host: Host) -> None:
    job = jobs.submit("until test -e /tmp/enough; do sleep 0.1; done")
    state = jobs.started(job)
    instance = instance_of(state["runner"])
    metric = f'thebes_runner_job_running{{instance_name="{instance}"}} 1'
    wait_for(
        lambda: metric in host.run("curl -s http://127.0.0.1:9100/metrics"),
        "the node exporter serves the metric",
    )
    assert host.health(instance)["job_seconds"] > 0
    host.run(f"touch /srv/thebes-runner/thebes-{instance}/tmp/enough")
    jobs.done(job)
    wait_for(lambda: metric not in host.run("curl -s http://127.0.0.1:9100/metrics"), "the metric goes back")


def test_diagnostics_of_a_job_are_kept_for_root(jobs: Jobs, host: Host, github: GitHub) -> None:
    job = jobs.submit("echo needle-$((6*7))")
    instance = instance_of(jobs.done(job)["runner"])
    wait_ready(github, instance)
    assert "needle-42" in host.run(f"cat /var/log/thebes-runner/{instance}/diag-*/Worker_{job}.log")


@pytest.mark.usefixtures("both")
def test_the_health_play_prints_a_table(jobs: Jobs) -> None:
    from conftest import play

    text = play("health.yml", "--limit", "thebes-host").stdout
    assert re.search(r"(?m)^ *host +runner +phase .* disk free +version$", text), text
    for instance in ("a", "b"):
        assert re.search(rf"(?m)^ *thebes-host +{instance} +idle .* up +\d+ MiB +\d+ MiB  [\d.]+$", text), text


@pytest.mark.usefixtures("both")
def test_the_smoke_play_asks_github(jobs: Jobs, host: Host) -> None:
    from conftest import play

    told = play("smoke.yml", "--verbose").stdout
    for instance in ("a", "b"):
        assert f"{host.health(instance)['runner_name']}: online" in told


def test_settings_are_valid_json_for_root_only(host: Host) -> None:
    assert json.loads(host.run("cat /etc/thebes-runner/runner.json"))["github"]["auth"] == "app"
    modes = host.run("cd /etc/thebes-runner; stat -c '%a %U' runner.json secrets secrets/app.pem")
    assert modes.splitlines() == ["600 root", "700 root", "600 root"]
