"""The playbooks against a machine in use: refusals, drain, other modes, and removal at the end."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import GitHub, Host, Jobs, play, wait_for, wait_ready

# Wrong settings are refused without a machine: tests/arguments.
REFUSED = [
    (["-e", "preflight_disk_min_mib=999999999"], "free or add disk, or lower the limit"),
    (["-e", "preflight_memory_min_mib=999999999"], "use fewer runner_instances, more memory"),
    (["-e", "runner_url=https://nowhere.test"], "can't reach https://nowhere.test"),
]


@pytest.mark.parametrize(("arguments", "text"), REFUSED, ids=[r[0][1][:30] for r in REFUSED])
def test_preflight_refuses_before_anything_is_changed(host: Host, arguments: list[str], text: str) -> None:
    done = play("site.yml", *arguments, check=False)
    assert done.returncode != 0
    assert text in " ".join(done.stdout.split()), done.stdout[-3000:]
    assert "changed=0" in done.stdout


def test_preflight_refuses_a_clock_that_is_off(host: Host, github: GitHub) -> None:
    github.call("set", {"date_skew": 3600})
    done = play("site.yml", check=False)
    github.call("set", {"date_skew": 0})
    assert done.returncode != 0
    assert "set up time synchronization" in " ".join(done.stdout.split())
    assert "changed=0" in done.stdout


def test_cgroup_v1_with_container_limits_is_refused_and_v2_is_not(host: Host) -> None:
    done = play("site.yml", "--check", "-e", '{"docker_container_limits": true}', check=False)
    v2 = host.code("test -e /sys/fs/cgroup/cgroup.controllers") == 0
    assert (done.returncode == 0) is v2
    assert v2 or "systemd.unified_cgroup_hierarchy=1" in " ".join(done.stdout.split())


def test_drain_finishes_the_job_and_takes_no_more(jobs: Jobs, host: Host, github: GitHub) -> None:
    job = jobs.submit("sleep 8; echo finished in peace")
    jobs.started(job, "Run sleep")
    play("drain.yml")
    state = jobs.state(job)
    assert state["conclusion"] == "success"
    assert "finished in peace" in state["log"]
    assert github.runners() == []
    assert {host.health(i)["phase"] for i in ("a", "b")} == {"drained"}
    assert host.code("systemctl is-enabled thebes-runner@a") != 0

    # Back to work with other settings: runner b is no longer wanted, and there is a new label.
    waiting = jobs.submit("true", labels=("new-label",))
    play("site.yml", "--tags", "runner", "-e", '{"runner_labels": ["new-label"], "runner_instances": ["a"]}')
    assert jobs.done(waiting)["conclusion"] == "success"
    assert host.code("id thebes-b") != 0
    assert github.runners("thebes-host-b") == []


def test_controller_keeps_the_credentials(host: Host, github: GitHub) -> None:
    """One one-time configuration for one job; nothing on the host could mint another."""
    # The name github.test is known on the machine only.
    settings = {"runner_instances": ["a"], "runner_auth_location": "controller", "runner_url": github.url}
    extra = ["-e", json.dumps(settings), "--tags", "runner"]
    play("site.yml", *extra)
    assert host.run("ls /etc/thebes-runner/secrets") == ""
    wait_ready(github, "a")
    second = play("site.yml", *extra)
    assert "changed=0" in second.stdout, second.stdout[-3000:]
    jobs = Jobs(github, host)
    assert jobs.run("true")["conclusion"] == "success"
    wait_for(
        lambda: "run site.yml from the controller" in host.health("a")["last_error"],
        "it waits for the controller",
    )
    play("site.yml", *extra)
    wait_ready(github, "a")


def test_persistent_rootful_runner_of_a_repository_with_a_token(host: Host, github: GitHub) -> None:
    """All the other choices at once, then two jobs on one registration."""
    play(
        "site.yml", "-e",
        json.dumps({
            "runner_instances": ["a"], "runner_scope": "repository", "runner_target": "acme/product",
            "runner_auth": "token", "runner_ephemeral": False, "docker_mode": "rootful",
        }),
    )  # fmt: skip
    jobs = Jobs(github, host)
    name = wait_ready(github, "a")
    first = jobs.run("docker info --format '{{.SecurityOptions}}' | grep -v rootless; touch left; sleep 2")
    assert first["conclusion"] == "success", first["log"]
    second = jobs.run("test ! -e left")
    assert second["conclusion"] == "success", second["log"]
    assert first["runner"] == second["runner"] == name
    github.call("forget", {"prefix": name})
    wait_for(
        lambda: host.health("a")["registrations_lost"] and github.ready("a"), "it registers again by itself"
    )


def test_remove_leaves_nothing(host: Host, github: GitHub) -> None:
    play("remove.yml")
    assert github.runners() == []
    host.run("/root/inventory.sh > /root/after")
    left = subprocess.run(
        ["docker", "exec", host.name, "diff", "/root/before", "/root/after"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert left.stdout == ""
    again = play("remove.yml")
    assert "failed=0" in again.stdout
