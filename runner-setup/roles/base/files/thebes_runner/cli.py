"""`thebes-runner VERB …`: the one program that units, timers and playbooks call."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from thebes_runner import (
    firewall,
    fresh,
    github,
    health,
    maintain,
    notes,
    registered,
    settings,
    supervise,
    system,
    watchdog,
)
from thebes_runner.errors import RunnerKitError

LEFT = 3  # exit code of `remove` and `deregister`, which remove_instance.yml knows


def supervise_command(arguments: argparse.Namespace) -> int:
    fresh.begun(fresh.RUNNER)
    runner = settings.runner()
    supervise.Supervisor(runner, runner.instance(arguments.instance)).run()
    return 0


def stopped_command(arguments: argparse.Namespace) -> int:
    """After a supervisor's unit: one that SIGTERM ended before its program began has left a listener."""
    if os.environ.get("EXIT_STATUS") == "TERM":  # systemd's word, systemd.exec(5)
        runner = settings.runner()
        supervise.Supervisor(runner, runner.instance(arguments.instance)).retire("stopped")
    return 0


def remove_command(arguments: argparse.Namespace) -> int:
    """End the instance's registration and everything that its user runs or owns.

    A host without credentials prints what is to be deregistered instead, for its controller."""
    runner = settings.runner()
    instance = runner.instance(arguments.instance)
    instance.drain_file.parent.mkdir(parents=True, exist_ok=True)
    instance.drain_file.touch()
    supervisor = supervise.Supervisor(runner, instance)
    supervisor.failures = supervise.PATIENT_FAILURES  # a place that is no more is named once, and given up
    left = supervisor.end("drained")
    known = supervisor.known_registrations()
    if runner.github.auth == "none":
        sys.stdout.writelines(json.dumps(value) + "\n" for value in known)
    elif left is not None and left.for_good:
        return leave("remove", f"{left.text}; {supervise.BY_HAND}")
    elif left is not None:
        raise RunnerKitError(f"{left.text}; run this again, or {supervise.BY_HAND}")
    else:
        try:
            maintain.reap_for_good(runner, instance)
        except (RunnerKitError, OSError) as error:  # credentials that are no more were told of above
            system.LOG.warning("%s: can't look for dead registrations: %s", instance.name, error)
    return 0


def watch_command(_: argparse.Namespace) -> int:
    fresh.begun(fresh.WATCHDOG)
    watchdog.run(settings.runner(), settings.watchdog())
    return 0


def maintain_command(_: argparse.Namespace) -> int:
    return 0 if maintain.run(settings.runner(), settings.maintenance()) else 1


def health_command(_: argparse.Namespace) -> int:
    runner = settings.runner()
    values = [dataclasses.asdict(health.examine(runner, i)) for i in runner.instances]
    sys.stdout.write(json.dumps(values, indent=2) + "\n")
    return 0


def controllers_client() -> github.Client:
    given = settings.controller(sys.stdin.read())
    return github.Client(given.github, given.secret)


def online_command(arguments: argparse.Namespace) -> int:
    """Whether GitHub lists runners as online, asked by the smoke test: those of this host; on a controller,
    which has the credentials instead of the host, those named (settings on standard input)."""
    if names := list(arguments.names):
        client = controllers_client()
    else:
        runner = settings.runner()
        client = github.Client(runner.github)
        states = {instance.name: notes.read(instance) for instance in runner.instances}
        names = [str(state.get("runner_name") or f"runner {name}, without a name") for name, state in states.items()]
    status = {r.name: r.status for r in client.registrations("")}
    for name in names:
        sys.stdout.write(f"{name}: {status.get(name, 'not registered')}\n")
    return 0 if all(status.get(name) == "online" for name in names) else 1


def refresh_command(arguments: argparse.Namespace) -> int:
    """New programs, settings or units are taken up; no running job is ended."""
    if fresh.refresh(arguments.if_changed):
        sys.stdout.write("taken up\n")
    return 0


def metrics_command(_: argparse.Namespace) -> int:
    runner = settings.runner()
    text = health.prometheus(health.examine(runner, i) for i in runner.instances)
    system.write_atomic(Path(settings.observability().textfile), text, mode=0o644)
    return 0


def firewall_command(arguments: argparse.Namespace) -> int:
    if arguments.remove:
        firewall.remove()
        return 0
    fresh.begun(fresh.FIREWALL)
    firewall.apply(firewall.rules(settings.runner()))
    return 0


def mint_command(arguments: argparse.Namespace) -> int:
    """On a controller: register one runner, print its one-time configuration as JSON."""
    client = controllers_client()
    name = supervise.runner_name(arguments.prefix, arguments.instance)
    labels = tuple(arguments.labels.split(","))
    runner_id, blob = client.mint(name, labels, client.admit())
    place = {key: getattr(client.github, key) for key in registered.PLACE}
    json.dump({"runner_id": runner_id, "name": name, "jit_config": blob, **place}, sys.stdout)
    return 0


def deregister_command(arguments: argparse.Namespace) -> int:
    """On a controller: delete a registration, which may be gone already, where it was made."""
    given = settings.controller(sys.stdin.read())
    name, url = str(arguments.registration["name"]), arguments.registration.get("url", given.github.url)
    # It is a host's word, on which no secret goes to another server and no runner of another host is deleted.
    if url != given.github.url:
        return leave("deregister", f"{name} is left at {url}: {supervise.BY_HAND}")
    place = {key: value for key, value in arguments.registration.items() if key in registered.PLACE}
    if place:
        place["installation_id"] = ""  # the App's is another one there
    client = github.Client(dataclasses.replace(given.github, **place), given.secret)
    client.check_access()  # else a 404 would say nothing about this runner
    runner_id = int(arguments.registration["runner_id"])
    found = client.find(runner_id)
    if found and not found.name.startswith(arguments.prefix):
        return leave(
            "deregister", f"{found.name} is left, as it does not begin with {arguments.prefix}: {supervise.BY_HAND}"
        )
    if found and not client.delete(runner_id):
        raise RunnerKitError(f"runner {runner_id} stays: GitHub says that a job runs on it")
    return 0


def leave(verb: str, text: str) -> int:
    """A registration that is not for us to delete, which is no reason to stop."""
    sys.stderr.write(f"thebes-runner {verb}: {text}\n")
    return LEFT


def wants_config_command(arguments: argparse.Namespace) -> int:
    """For a controller: whether this instance waits for a one-time configuration."""
    instance = settings.runner().instance(arguments.instance)
    state = notes.read(instance)
    has_one = instance.prepared_file.exists() or state.get("phase") in ("idle", "job")
    sys.stdout.write("no\n" if has_one else "yes\n")
    return 0


def check_command(arguments: argparse.Namespace) -> int:
    """Read a settings file as the programs will; for Ansible's `validate`."""
    reader: Callable[[Path], object] = getattr(settings, arguments.kind)
    reader(arguments.file)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="thebes-runner", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)

    def verb(name: str, call: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text)
        made.set_defaults(call=call)
        return made

    verb("supervise", supervise_command, "run one instance, for ever").add_argument("instance")
    verb("stopped", stopped_command, "end what a supervisor left behind").add_argument("instance")
    verb(
        "remove",
        remove_command,
        "wipe one instance and deregister it; without credentials, print lines for `deregister`",
    ).add_argument("instance")
    verb("watch", watch_command, "the watchdog of all instances")
    verb("maintain", maintain_command, "reap, prune, look for a newer runner")
    verb("health", health_command, "state of all instances as JSON")
    online = verb("online", online_command, "ask GitHub whether it sees this host's runners")
    online.add_argument("names", nargs="*", help="on a controller: these (settings on standard input)")
    new = verb("refresh", refresh_command, "let running programs take up what is new")
    new.add_argument("--if-changed", action="store_true", help="only if something is, since the last time")
    verb("metrics", metrics_command, "write the Prometheus text file")
    blocked = verb("firewall", firewall_command, "load the rules that block addresses")
    blocked.add_argument("--remove", action="store_true")
    mint = verb("mint", mint_command, "print a one-time configuration (settings on standard input)")
    mint.add_argument("instance")
    mint.add_argument("--prefix", required=True)
    mint.add_argument("--labels", required=True)
    gone = verb("deregister", deregister_command, "delete a registration (settings on standard input)")
    gone.add_argument("registration", type=json.loads, help="a line as `remove` prints it")
    gone.add_argument("--prefix", required=True, help="how the names of that host's runners begin")
    wants = verb("wants-config", wants_config_command, "whether a controller must mint: yes or no")
    wants.add_argument("instance")
    check = verb("check", check_command, "validate a settings file")
    check.add_argument("kind", choices=["runner", "policy", "watchdog", "maintenance", "observability"])
    check.add_argument("file", type=Path)
    return top


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = parser().parse_args()
    # Called by hand or by a playbook, a command must find the same proxy as the units do.
    environment = settings.CONFIG_DIR / "environment"
    if environment.exists():
        for key, value in settings.shared_environment(environment.read_text(encoding="utf-8")).items():
            os.environ.setdefault(key, value)
    try:
        return int(arguments.call(arguments))
    except RunnerKitError as error:
        sys.stderr.write(f"thebes-runner {arguments.verb}: {error}\n")
        return 1
