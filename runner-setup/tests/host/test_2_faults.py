"""Every fault that the kit promises to survive, and how long it takes to be ready again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from conftest import Figure, GitHub, Host, Jobs, holding, instance_of, recovered, wait_for, wait_ready

JIT = "generate-jitconfig"


def test_over_the_limit_steps_are_interrupted_and_uploads_still_run(jobs: Jobs, host: Host, figure: Figure) -> None:
    """The step is interrupted at the limit; the job then has time for its `always` steps."""
    with host.limits(job_limit=8, upload_grace=100):
        job = jobs.submit("trap '' TERM; sleep 300", {"run": "echo uploaded-after-interrupt", "always": True})
        state = jobs.done(job)
    assert state["conclusion"] == "failure"
    assert "uploaded-after-interrupt" in state["log"]
    assert 7.5 < state["finished"] - state["started"] < 100
    figure("over the limit: noticed after the limit", state["finished"] - state["started"] - 8)
    instance = instance_of(state["runner"])
    last = json.loads(host.run(f"tail -1 /var/log/thebes-runner/{instance}/watchdog.log"))
    assert last["reason"] == "interrupt"
    assert "limit 8 s" in last["text"]


def test_containers_of_the_step_are_interrupted_too(jobs: Jobs, host: Host) -> None:
    job = jobs.submit(
        "docker run --detach --name polite thebes-small sh -c 'trap \"echo told; exit\" INT; sleep 300 & wait'",
        "echo container runs; sleep 300",
        {"run": "docker wait polite; docker logs polite", "always": True},
    )
    instance = instance_of(jobs.started(job, "container runs\n")["runner"])
    seen = f"test -e /run/thebes-runner/{instance}/job.json"
    wait_for(lambda: host.code(seen) == 0, "the watchdog has seen the job")
    with host.limits(job_limit=1, upload_grace=100):
        state = jobs.done(job)
    assert "told\n" in state["log"]
    told = host.run(f"tail -1 /var/log/thebes-runner/{instance}/watchdog.log")
    assert "and 1 containers interrupted" in told


def test_a_job_that_ignores_the_interrupt_is_killed_whole(
    jobs: Jobs, host: Host, github: GitHub, figure: Figure
) -> None:
    """It hides as well: ignores signals, renames itself, moves into a service and into a container of its own."""
    ignore = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(300)"
    hide = f'exec -a kworker python3 -c "{ignore}"'
    contained = "docker run --detach thebes-small sh -c \"trap '' INT TERM; sleep 4328\" && echo it is contained"
    with host.limits(job_limit=10, upload_grace=2):
        job = jobs.submit(f"trap '' INT TERM; {contained}; systemd-run --user --unit=away sleep 4325; ({hide})")
        state = jobs.started(job)
        before = state["runner"]
        instance = instance_of(before)
        log = f"cat /var/log/thebes-runner/{instance}/watchdog.log"
        wait_for(lambda: "job-limit" in host.run(log, check=False), "the watchdog kills")
        figure("over the limit, interrupt ignored: killed to ready", recovered(github, instance, before))
    assert "Run trap" in jobs.state(job)["log"]
    assert "it is contained\n" in jobs.state(job)["log"]
    assert not re.search("sleep 432[58]", host.run("ps -e -o args="))
    assert host.health(instance)["watchdog_ends"] >= 2


# In the place of the runner's Docker socket: every answer is a list in a list in a list …
HOSTILE = """
import os, socket
path = os.environ["XDG_RUNTIME_DIR"] + "/docker.sock"
os.unlink(path)
server = socket.create_server(path, family=socket.AF_UNIX)
open("/tmp/listening", "w").close()
while True:
    taken = server.accept()[0]
    taken.recv(65536)
    taken.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100000\\r\\n\\r\\n" + b"[" * 100000)
"""


def test_what_answers_on_the_docker_socket_does_not_stop_the_watchdog(jobs: Jobs, host: Host, github: GitHub) -> None:
    with host.limits(job_limit=8, upload_grace=2):
        job = jobs.submit(
            f"cat > hostile.py <<'E'{HOSTILE}E",
            "systemd-run --user --quiet --unit=hostile python3 $PWD/hostile.py; trap '' INT;"
            " until test -e /tmp/listening; do sleep 0.1; done; echo replaced; sleep 300",
        )
        state = jobs.started(job, "replaced\n")
        instance = instance_of(state["runner"])
        recovered(github, instance, state["runner"])
    told = host.run(f"tail -2 /var/log/thebes-runner/{instance}/watchdog.log")
    assert "and 0 containers interrupted" in told
    assert "job-limit" in told


def test_killing_the_worker_does_not_stop_the_clock(jobs: Jobs, host: Host, github: GitHub) -> None:
    """A job that ends its own worker, and stops the listener, which would tell of it, is a job still."""
    with host.limits(job_limit=8, upload_grace=2):
        job = jobs.submit(
            "until test -e /tmp/go; do sleep 0.1; done;"
            " kill -STOP $(pgrep -x Runner.Listener); kill -KILL $(pgrep -x Runner.Worker)"
        )
        runner = jobs.started(job, "Run until")["runner"]
        instance = instance_of(runner)
        wait_for(
            lambda: host.code(f"test -e /run/thebes-runner/{instance}/job.json") == 0,
            "the watchdog has seen the job",
        )
        host.run(f"touch /srv/thebes-runner/thebes-{instance}/tmp/go")
        recovered(github, instance, runner)
    assert "job-limit" in host.run(f"tail -1 /var/log/thebes-runner/{instance}/watchdog.log")


def test_no_job_begins_without_the_watchdog(jobs: Jobs, host: Host) -> None:
    """Else a job could end its worker and stop its listener before anybody knows of it, and stay for ever."""
    host.run("systemctl stop thebes-watchdog")
    try:
        state = jobs.run("echo STEP RAN", {"run": "echo STEP RAN", "always": True})
    finally:
        host.run("systemctl start thebes-watchdog")
    assert state["conclusion"] == "failure"
    assert "Refused by this runner::the watchdog has not noted this job within 60 s" in state["log"]
    assert "STEP RAN" not in state["log"].replace("Run echo STEP RAN", "")


def test_a_job_is_noted_before_its_first_step(jobs: Jobs, host: Host) -> None:
    """Also between the watchdog's whole looks, and where the job can't touch it."""
    word = "$THEBES_RUNNER_DIR/../job.json"
    with host.limits(interval=600):
        state = jobs.run(f"test $(stat -c %u {word}) = 0; grep -q worker {word}; ! rm -f {word}; ! touch {word}")
    assert state["conclusion"] == "success", state["log"]


def test_a_listener_that_hangs_is_ended(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    before = wait_ready(github, "a")
    github.call("set", {"offline_after": 3})
    try:
        host.run("kill -STOP $(systemctl show thebes-job@a -p MainPID --value)")
        figure("a listener that hangs (three checks, every 2 s)", recovered(github, "a", before))
    finally:
        github.call("set", {"offline_after": 20})
    assert before not in [r["name"] for r in github.runners()]


def test_killing_the_watchdog_does_not_stop_the_clock(jobs: Jobs, host: Host, github: GitHub) -> None:
    """The watchdog's memory of the job is out of the job's reach, and outlives the watchdog."""
    with host.limits(job_limit=8, upload_grace=100):
        job = jobs.submit("test ! -w /run/thebes-runner; sleep 300")
        instance = instance_of(jobs.started(job, "Run test")["runner"])
        seen = f"cat /run/thebes-runner/{instance}/job.json"
        wait_for(lambda: host.code(seen) == 0, "the watchdog has seen the job")
        before = json.loads(host.run(seen))
        host.run("systemctl kill --signal=KILL thebes-watchdog")
        state = jobs.done(job)
    assert state["conclusion"] == "failure"
    assert state["finished"] - state["started"] < 100
    report = host.run(f"tail -1 /var/log/thebes-runner/{instance}/watchdog.log")
    (age,) = re.findall(r"job is (\d+) s old", report)
    assert 8 <= float(age) < 100
    assert before["started"] > 0


def test_blocked_addresses_stay_blocked_after_a_flush(host: Host, github: GitHub) -> None:
    wait_ready(github, "a")
    table = "nft list table inet thebes_runner"
    assert host.code(table) == 0
    host.run("nft flush ruleset")
    wait_for(lambda: host.code(table) == 0, "the rules are back")
    # A reload of the machine's own rules flushes all; with it ours are loaded again, and by nobody else.
    host.run("systemctl start nftables; systemctl stop thebes-runner@a thebes-runner@b; systemctl reload nftables")
    try:
        wait_for(lambda: host.code(table) == 0, "the rules are back")
    finally:
        host.run("systemctl start thebes-runner@a thebes-runner@b; systemctl stop nftables")
    wait_ready(github, "a")
    assert host.code(table) == 0


def test_kill_9_of_an_idle_listener(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    before = wait_ready(github, "a")
    host.run("kill -9 $(systemctl show thebes-job@a -p MainPID --value)")
    figure("kill -9 of the idle listener", recovered(github, "a", before))
    wait_for(lambda: before not in [r["name"] for r in github.runners()], "the old registration is deleted")


def test_kill_9_of_a_busy_listener(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    job = jobs.submit("sleep 300")
    state = jobs.started(job, "Run sleep")
    instance = instance_of(state["runner"])
    host.run(f"kill -9 $(systemctl show thebes-job@{instance} -p MainPID --value)")
    figure("kill -9 of the busy listener", recovered(github, instance, state["runner"]))
    assert "sleep 300" not in host.run("ps -e -o args=")


def test_kill_9_of_the_supervisor_spares_the_job(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    job = jobs.submit("sleep 5; echo survived")
    state = jobs.started(job, "Run sleep")
    instance = instance_of(state["runner"])
    host.run(f"kill -9 $(systemctl show thebes-runner@{instance} -p MainPID --value)")
    host.run("thebes-runner refresh")  # and an update in the middle of it
    done = jobs.done(job)
    assert done["conclusion"] == "success"
    assert "survived" in done["log"]
    figure(
        "kill -9 of the supervisor during a job: job end to ready",
        recovered(github, instance, state["runner"]),
    )


# Kills the supervisor of b; goes on in the first moment of its successor, long before that can handle a signal.
RESTARTING = """
old=$(systemctl show thebes-runner@b -p MainPID --value)
kill -9 $old
new=0
while [ "$new" = 0 ] || [ "$new" = "$old" ]; do new=$(systemctl show thebes-runner@b -p MainPID --value); done
"""


def test_a_reload_while_the_supervisor_starts_does_not_end_it(host: Host, github: GitHub) -> None:
    before = wait_ready(github, "b")
    host.run(f"{RESTARTING} systemctl reload thebes-runner@b")
    recovered(github, "b", before)


@pytest.mark.parametrize("moment", ["systemctl kill --signal=HUP thebes-runner@b", RESTARTING], ids=["reload", "start"])
def test_a_stop_in_the_middle_leaves_no_listener(host: Host, github: GitHub, moment: str) -> None:
    wait_ready(github, "b")
    try:
        host.run(f"{moment}\nsystemctl stop thebes-runner@b")
        assert host.code("systemctl is-active --quiet thebes-job@b") != 0
        assert not github.ready("b")
    finally:
        host.run("systemctl start thebes-runner@b")
    wait_ready(github, "b")


@pytest.fixture
def small_disk(host: Host, request: pytest.FixtureRequest) -> Iterator[None]:
    """Runner a on a file system of `request.param` MiB of its own; runner b and the disk guard rest."""
    folder = "/srv/thebes-runner/thebes-a"
    with host.limits(disk_min_mib=0):
        host.run("systemctl stop thebes-runner@a thebes-runner@b")
        host.run(f"mount -t tmpfs -o size={request.param}M,mode=750,gid=$(id -g thebes-a) small {folder}")
        host.run("systemctl start thebes-runner@a")
        yield
        host.run(f"systemctl stop thebes-runner@a; umount {folder}")
        host.run("systemctl start thebes-runner@a thebes-runner@b")


@pytest.mark.parametrize("small_disk", [200], indirect=True)
def test_a_full_disk_is_left_behind(small_disk: None, host: Host, github: GitHub, figure: Figure) -> None:
    jobs = Jobs(github, host)
    before = wait_ready(github, "a")
    state = jobs.run("dd if=/dev/zero of=fill bs=1M || { truncate --size=-1M fill; echo disk is full; }")
    assert state["runner"] == before
    assert "\ndisk is full\n" in state["log"]  # the last MiB is for this log
    figure("a full disk left behind", recovered(github, "a", before))


@pytest.mark.parametrize("small_disk", [40], indirect=True)
def test_too_little_disk_takes_no_job_and_says_so(small_disk: None, host: Host, github: GitHub) -> None:
    health = wait_for(lambda: (h := host.health("a"))["last_error"] and h, "the supervisor refuses")
    assert "runner_disk_min_mib is 64" in health["last_error"]
    assert not github.ready("a")


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(
    ("scarce", "greedy"),
    [("memory", holding(300)), ("disk", "head -c 300M /dev/zero >fill; echo taken; sleep 300")],
    ids=["memory", "disk"],
)
def test_the_guard_ends_the_job_that_uses_most_and_looks_again_when_that_one_is_cleaned_up(
    jobs: Jobs, host: Host, scarce: str, greedy: str
) -> None:
    """The larger of two first; the other only because even then the host has less than it should."""
    largest = instance_of(jobs.started(jobs.submit(greedy), "\ntaken\n")["runner"])
    other = instance_of(jobs.started(jobs.submit("sleep 300"), "Run sleep")["runner"])
    assert {largest, other} == {"a", "b"}

    begun = host.now()
    with host.limits(**{f"{scarce}_min_mib": 1000000000}):
        wait_for(lambda: host.guard_ended(other, begun, scarce), "the guard ends the second job, too")
        given_back = json.loads(host.run(f"cat /var/lib/thebes-runner/{largest}/state.json"))["ended"]
    # The watchdog kills first and says so then: its word may be later than the supervisor's note.
    assert begun < given_back < host.guard_ended(other, begun, scarce)
    assert begun < host.guard_ended(largest, begun, scarce) < host.guard_ended(other, begun, scarce)
    assert f'"reason": "{scarce}"' in host.run(f"tail -1 /var/log/thebes-runner/{largest}/watchdog.log")


FULL = """
cp -a {folder} /root/before-full
mount -t tmpfs -o size=$(($(du -sk {folder} | cut -f1) * 2 + 64))k,mode=755 full {folder}
cp -a /root/before-full/. {folder}
rm -r /root/before-full
! dd if=/dev/zero of={folder}/fill bs=4k
"""


@pytest.fixture
def full_var(host: Host) -> Iterator[None]:
    """No byte can be written where the kit keeps states and logs. Runner a is alone."""
    folders = ("/var/lib/thebes-runner", "/var/log/thebes-runner")
    host.run("systemctl stop thebes-runner@a thebes-runner@b")
    host.run("set -e\n" + "".join(FULL.format(folder=folder) for folder in folders))
    # A service keeps the mounts that it started with.
    host.run("systemctl restart thebes-watchdog; systemctl start thebes-runner@a")
    yield
    host.run(f"systemctl stop thebes-runner@a; umount {' '.join(folders)}")
    host.run("systemctl restart thebes-watchdog; systemctl start thebes-runner@a thebes-runner@b")


def test_a_full_var_stops_neither_jobs_nor_their_limit(full_var: None, host: Host, github: GitHub) -> None:
    jobs = Jobs(github, host)
    first = wait_ready(github, "a")
    job = jobs.run("echo fine; touch ~/left")
    assert (job["conclusion"], job["runner"]) == ("success", first)
    recovered(github, "a", first)
    assert not host.run("ls /srv/thebes-runner/thebes-a/home")
    second = wait_ready(github, "a")
    begun = host.now()
    with host.limits(job_limit=8, upload_grace=2):
        jobs.started(jobs.submit("trap '' INT; sleep 300"), "Run trap")
        recovered(github, "a", second)
        assert host.watchdog_said("a: watchdog (job-limit)", begun)
    assert "the noted state is out of date: [Errno 28]" in host.run("journalctl -u thebes-runner@a")
    host.run("rm /var/lib/thebes-runner/fill")
    wait_for(lambda: host.health("a")["runner_name"] in github.ready("a"), "the state is right again")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("API 500, three times", {"match": JIT, "status": 500, "count": 3}),
        ("API 404, twice", {"match": JIT, "status": 404, "count": 2}),
        (
            "API 429 with Retry-After 4",
            {"match": JIT, "status": 429, "count": 1, "headers": {"Retry-After": "4"}},
        ),
        ("API slow (5 s)", {"match": JIT, "delay": 5, "count": 1}),
    ],
)
def test_api_faults_while_registering(
    jobs: Jobs, host: Host, github: GitHub, figure: Figure, name: str, fault: dict[str, object]
) -> None:
    before = wait_ready(github, "a")
    wait_ready(github, "b")
    github.call("faults", [fault])
    host.run("kill -9 $(systemctl show thebes-job@a -p MainPID --value)")
    seconds = recovered(github, "a", before)
    assert [left["count"] for left in github.call("faults")] == [0]
    if "headers" in fault:
        assert seconds >= 4, "Retry-After was not obeyed"
    figure(name, seconds)


def test_a_version_that_github_no_longer_takes_is_named(jobs: Jobs, host: Host, github: GitHub) -> None:
    before = wait_ready(github, "a")
    wait_ready(github, "b")
    github.call("faults", [{"match": "/_broker/session", "status": 403, "count": 3}])
    host.run("kill -9 $(systemctl show thebes-job@a -p MainPID --value)")
    wait_for(lambda: "listener exit 7: " in host.health("a")["last_error"], "the listener's word is understood")
    assert "set runner_version to a newer one" in host.run("journalctl -u thebes-runner@a")
    recovered(github, "a", before)


def test_an_expired_token_is_renewed(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    before = wait_ready(github, "a")
    github.call("expire-tokens", {})
    host.run("kill -9 $(systemctl show thebes-job@a -p MainPID --value)")
    figure("token expired", recovered(github, "a", before))


def test_a_registration_deleted_behind_its_back(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    before = wait_ready(github, "a")
    github.call("forget", {"prefix": before})
    figure("registration deleted behind its back (checked every 2 s)", recovered(github, "a", before))
    assert host.health("a")["registrations_lost"] >= 1


@pytest.mark.usefixtures("both")
def test_a_repository_that_became_public_is_refused(jobs: Jobs, host: Host, github: GitHub) -> None:
    github.call("set", {"group_public": True})
    host.run("kill -9 $(systemctl show thebes-job@a -p MainPID --value)")
    health = wait_for(lambda: "public" in (h := host.health("a"))["last_error"] and h, "registration is refused")
    assert "set runner_allow_public" in health["last_error"]
    github.call("set", {"group_public": False})
    wait_ready(github, "a")


@pytest.mark.usefixtures("both")
def test_250_runners_and_the_dead_of_own_prefix(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    """Dead ones are reaped once they were seen offline twice; others' are left alone."""
    # The own ones come last, on the third page; the others' names begin like theirs.
    for prefix, count in {"thebes-host-2-a-dead": 220, "thebes-host-a-dead": 30}.items():
        github.call("dead-runners", {"scope": "orgs/acme", "prefix": prefix, "count": count})
    assert len(github.call("runners")) >= 250
    host.run("systemctl start thebes-maintenance")
    assert len(github.runners("thebes-host-a-dead")) == 30
    start = time.monotonic()
    host.run("systemctl start thebes-maintenance")
    figure("reaping 30 dead registrations of 250", time.monotonic() - start)
    assert github.runners("thebes-host-a-dead") == []
    assert len(github.runners("thebes-host-2-a-dead")) == 220
    assert github.ready("a")
    assert github.ready("b")
    github.call("forget", {"prefix": "thebes-host-2-a-dead"})


def test_an_old_release_is_noticed(jobs: Jobs, host: Host, github: GitHub) -> None:
    now = host.run("date --utc --date '40 days ago' +%FT%TZ")
    github.call("set", {"newest": "2.400.0", "published": {"2.400.0": now}})
    host.run("systemctl start thebes-maintenance")
    assert 39.9 < host.health("a")["outdated_days"] < 40.1
    github.call("set", {"newest": "2.0.0"})
    host.run("systemctl start thebes-maintenance")
    assert host.health("a")["outdated_days"] == 0


@pytest.mark.usefixtures("both")
def test_the_host_restarts(jobs: Jobs, host: Host, github: GitHub, figure: Figure) -> None:
    """A power cut in the middle of a job; nothing is done by hand afterwards."""
    job = jobs.submit("sleep 300")
    state = jobs.started(job, "Run sleep")
    old = {r["name"] for r in github.runners()}
    start = time.monotonic()
    host.restart()
    for instance in ("a", "b"):
        recovered(github, instance, *old, seconds=60)
    figure("host restart during a job", time.monotonic() - start)
    assert "sleep 300" not in host.run("ps -e -o args=")
    assert state["runner"] in old
    assert host.code("nft list table inet thebes_runner | grep -q 169.254.0.0/16") == 0
