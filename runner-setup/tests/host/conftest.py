"""The provisioned machine, and the GitHub that it talks to. Started by sequence.sh."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Figure = Callable[..., None]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # only a failing test waits that long


def wait_for(condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`; fails with `what`, asked for then, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, (
            f"after {seconds:.0f} s still not: {what if isinstance(what, str) else what()}"
        )
        time.sleep(0.1)
    return value


class GitHub:
    """The control side of the fake GitHub."""

    def __init__(self) -> None:
        self.context = ssl.create_default_context(cafile=os.environ["FILES"] + "/ca.crt")
        self.url = f"https://{os.environ['GATEWAY']}:8443"

    def call(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_control/{path}", data=data)
        with urllib.request.urlopen(request, context=self.context, timeout=20) as answer:
            return json.loads(answer.read())

    def runners(self, prefix: str = "thebes-host-") -> list[dict[str, Any]]:
        return [r for r in self.call("runners") if r["name"].startswith(prefix)]

    def ready(self, instance: str) -> list[str]:
        """Names of the instance's registrations that could take a job."""
        found = self.runners(f"thebes-host-{instance}")
        return [r["name"] for r in found if r["status"] == "online" and not r["busy"]]


class Host:
    """The machine, by the command in HOST_SHELL (a root shell there that reads commands)."""

    def __init__(self) -> None:
        self.name = "thebes-host"
        self.shell = os.environ["HOST_SHELL"].split()

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.shell, input=command, capture_output=True, text=True, check=False, timeout=120)

    def run(self, command: str, check: bool = True) -> str:
        done = self.call(command)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def succeeds(self, command: str) -> bool:
        return self.code(command) == 0

    def code(self, command: str) -> int:
        return self.call(command).returncode

    def restart(self) -> None:
        """A power cut."""
        for command in (
            ["restart", "--time", "0", self.name],
            ["exec", self.name, "chmod", "666", "/dev/fuse", "/dev/net/tun"],  # udev's work on a real machine
        ):
            subprocess.run(["docker", *command], check=True, capture_output=True)
        wait_for(lambda: self.succeeds("true"), "the machine answers")

    def health(self, instance: str) -> dict[str, Any]:
        return next(h for h in json.loads(self.run("thebes-runner health")) if h["instance"] == instance)

    @contextlib.contextmanager
    def limits(self, **values: float) -> Iterator[None]:
        """Other limits of the watchdog (watchdog.json) for a while."""
        file = "/etc/thebes-runner/watchdog.json"
        changes = " | ".join(f".{key} = {value}" for key, value in values.items())
        taken_up = "systemctl restart thebes-watchdog"  # and the supervisors stay as they are
        self.run(f"cp -p {file} {file}.before; jq '{changes}' {file}.before > {file}; {taken_up}")
        try:
            yield
        finally:
            self.run(f"mv {file}.before {file}; {taken_up}")

    def watchdog_said(self, text: str, since: float) -> float:
        """When the watchdog said this first (seconds of the host's clock); 0 for not yet."""
        said = self.run(f"journalctl -u thebes-watchdog -o short-unix --since @{since}")
        found = [line.split()[0] for line in said.splitlines() if text in line]
        return float(found[0]) if found else 0.0

    def guard_ended(self, instance: str, since: float, scarce: str = "memory") -> float:
        """When the watchdog's guard of memory or disk ended the instance's job; 0 for not yet."""
        return self.watchdog_said(f"{instance}: watchdog ({scarce})", since)

    def now(self) -> float:
        return float(self.run("date +%s.%N"))

    @contextlib.contextmanager
    def served_beyond(self, *addresses: str) -> Iterator[None]:
        """A web server at port 80 of these addresses, which the machine reaches by a route; it has the file
        `hostname`."""
        start = [
            "ip netns add beyond && ip link add beyond0 type veth peer name inside netns beyond",
            "sysctl --quiet --write net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.beyond0.disable_ipv6=0",
            "ip address add 192.0.2.1/24 dev beyond0 && ip address add 2001:db8::1/64 dev beyond0 nodad",
            "ip link set beyond0 up && ip -n beyond link set lo up && ip -n beyond link set inside up",
            "ip -n beyond address add 192.0.2.2/24 dev inside",
            "ip -n beyond address add 2001:db8::2/64 dev inside nodad",
        ]
        for address in addresses:
            start.append(f"ip -n beyond address add {address} dev lo")
            start.append(f"ip route add {address} via {'2001:db8::2' if ':' in address else '192.0.2.2'}")
        start.append(
            "systemd-run --quiet --collect --unit=beyond --property=NetworkNamespacePath=/run/netns/beyond"
            " --property=WorkingDirectory=/etc python3 -m http.server --bind :: 80"
        )
        try:
            self.run(" && ".join(start))
            for address in addresses:
                answered = f"curl -sf -m 2 http://{in_url(address)}/hostname"
                wait_for(functools.partial(self.succeeds, answered), f"root reaches {address}")
            yield
        finally:
            self.run("systemctl stop beyond; ip link delete beyond0; ip netns delete beyond")

    def uid(self, instance: str) -> int:
        return int(self.run(f"id -u thebes-{instance}"))


def in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def holding(mib: int) -> str:
    """A command that prints "taken" when it holds so much memory, and keeps it."""
    return f"python3 -c 'import time; x = bytearray({mib * 2**20}); print(\"taken\", flush=True); time.sleep(3000)'"


def instance_of(runner: str) -> str:
    """The instance whose runner has this name."""
    return runner.split("-")[2]


class Jobs:
    def __init__(self, github: GitHub, host: Host) -> None:
        self.github = github
        self.host = host
        self.submitted: list[str] = []

    def end_all(self) -> None:
        """Jobs that a failed test left behind must not keep the runners from the next."""
        for job in self.submitted:
            if (state := self.state(job))["status"] == "in_progress":
                instance = instance_of(state["runner"])
                if self.host.health(instance)["runner_name"] == state["runner"]:
                    self.host.run(f"systemctl kill --signal=KILL thebes-job@{instance}")

    def submit(self, *steps: str | dict[str, Any], labels: tuple[str, ...] = (), **values: object) -> str:
        """Queue a job of shell steps; its id. Private, not from a fork, unless told otherwise."""
        made = [{"run": step} if isinstance(step, str) else step for step in steps]
        event = {"repository": {"id": 1, "private": True}}
        body = {"steps": made, "labels": list(labels), "repository": "acme/product", "event": event, **values}
        self.submitted.append(str(self.github.call("jobs", body)["id"]))
        return self.submitted[-1]

    def state(self, job: str) -> dict[str, Any]:
        return dict(self.github.call(f"jobs/{job}"))

    def started(self, job: str, sign: str = "", seconds: float = PATIENCE) -> dict[str, Any]:
        return dict(
            wait_for(
                lambda: (s := self.state(job))["status"] != "queued" and sign in s["log"] and s,
                lambda: f"job started {sign}: {self.state(job)}",
                seconds,
            )
        )

    def done(self, job: str, seconds: float = PATIENCE) -> dict[str, Any]:
        return dict(
            wait_for(
                lambda: (s := self.state(job))["status"] == "completed" and s,
                lambda: f"job completed: {self.state(job)}",
                seconds,
            )
        )

    def run(self, *steps: str | dict[str, Any], **values: Any) -> dict[str, Any]:
        return self.done(self.submit(*steps, **values))


@pytest.fixture(scope="session")
def github() -> GitHub:
    return GitHub()


@pytest.fixture(scope="session")
def host() -> Host:
    return Host()


@pytest.fixture
def jobs(github: GitHub, host: Host) -> Iterator[Jobs]:
    """A runner is idle (the other may still be cleaning up), nothing broken on purpose."""
    github.call("faults", [])
    github.call("set", {"private": True, "group_public": False})
    wait_for(lambda: github.ready(""), "a runner is online and idle")
    jobs = Jobs(github, host)
    yield jobs
    jobs.end_all()


@pytest.fixture
def both(jobs: Jobs, github: GitHub) -> None:
    """Both runners are idle."""
    for instance in ("a", "b"):
        wait_ready(github, instance)


def wait_ready(github: GitHub, instance: str) -> str:
    return str(wait_for(lambda: github.ready(instance), f"runner {instance} is online and idle")[0])


def recovered(github: GitHub, instance: str, *before: str, seconds: float = PATIENCE) -> float:
    """Seconds until another registration of the instance is ready."""
    start = time.monotonic()
    wait_for(lambda: set(github.ready(instance)) - set(before), f"a new runner {instance}", seconds)
    return time.monotonic() - start


@pytest.fixture
def figure() -> Figure:
    """Notes a measurement for the table that is printed at the end."""

    def note(name: str, value: float, unit: str = "s") -> None:
        with Path(os.environ["FIGURES"]).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{value:.{0 if unit == 'MiB' else 1}f} {unit}\n")

    return note


def settings_of(host: Host) -> dict[str, Any]:
    """All variables that molecule's inventory gives the machine."""
    command = ["ansible-inventory", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--host", host.name]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def copy_repository(place: Path, *names: str) -> None:
    """What somebody would have of these files and folders who cloned the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names]
    listed = subprocess.run(command, cwd=ROOT.parent, stdout=subprocess.PIPE, text=True, check=True)
    for name in listed.stdout.split("\0")[:-1]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT.parent / name, place / name)


def start(name: str, *arguments: str, inventory: str = "") -> subprocess.Popen[str]:
    """One of the kit's playbooks against the machine, with molecule's inventory."""
    inventory = inventory or os.environ["MOLECULE_INVENTORY_FILE"]
    command = ["ansible-playbook", "--inventory", inventory, str(ROOT / name), *arguments]
    env = {
        **os.environ,
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_PIPELINING": "true",
        "SSL_CERT_FILE": os.environ["FILES"] + "/ca.crt",
    }
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, cwd=ROOT)


def play(name: str, *arguments: str, check: bool = True, inventory: str = "") -> subprocess.CompletedProcess[str]:
    """Run a playbook to its end."""
    with start(name, *arguments, inventory=inventory) as run:
        told = run.communicate()[0]
    assert not check or run.returncode == 0, told[-6000:]
    return subprocess.CompletedProcess(run.args, run.returncode, told)


def interrupt(name: str, task: str, *arguments: str) -> None:
    """Run a playbook, and kill it when it comes to a task whose name begins so."""
    with start(name, *arguments) as run:
        assert run.stdout
        reached = any(line.startswith(f"TASK [{task}") for line in run.stdout)
        run.kill()
    assert reached, "it ended before"
