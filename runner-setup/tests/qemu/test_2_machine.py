"""What only a whole machine shows: limits under cgroup v2, udev's devices, an orderly restart."""

from __future__ import annotations

import time

from conftest import GitHub, Host, Jobs, holding, instance_of, wait_for

SLOW = 900.0  # an emulated processor; only a failing test waits that long


def ready(github: GitHub, but: str = "") -> str:
    return str(wait_for(lambda: [n for n in github.ready("a") if n != but], "the runner is ready", SLOW)[0])


def test_container_limits_hold(github: GitHub, host: Host) -> None:
    ready(github)
    jobs = Jobs(github, host)
    job = jobs.done(
        jobs.submit(
            "docker info 2>&1 | grep -E 'Cgroup (Driver: systemd|Version: 2)'",
            "mkdir -p ctx/bin; cp /bin/sh /bin/cat ctx/bin/;"
            " for l in $(ldd /bin/sh /bin/cat | grep -o '/[^ )]*' | grep '\\.so' | sort -u);"
            " do mkdir -p ctx$(dirname $l); cp -L $l ctx$l; done; tar -C ctx -c . | docker import - small",
            "test $(docker run --rm --memory 64m small cat /sys/fs/cgroup/memory.max) = 67108864",
            "test $(docker run --rm --pids-limit 50 small cat /sys/fs/cgroup/pids.max) = 50",
            "printf 'FROM small\\nRUN cat /proc/self/cgroup\\n' | DOCKER_BUILDKIT=1 docker build -",
            "test $(docker run --rm --cpus 0.5 small cat /sys/fs/cgroup/cpu.max | cut -d' ' -f1) = 50000",
        ),
        SLOW,
    )
    assert job["conclusion"] == "success", job["log"]


def test_the_runners_limits_hold(github: GitHub, host: Host) -> None:
    ready(github)
    jobs = Jobs(github, host)
    job = jobs.done(
        jobs.submit("python3 -c 'x = bytearray(1500 * 1024 * 1024)' && echo too much || echo killed as it should"),
        SLOW,
    )
    assert "\nkilled as it should\n" in job["log"]
    ready(github, but=job["runner"])
    slice_ = f"/sys/fs/cgroup/user.slice/user-{host.uid('a')}.slice"
    service = f"{slice_}/user@{host.uid('a')}.service"
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(host.run(f"cat {service}/cgroup.controllers").split())
    assert host.run(f"cat {slice_}/memory.max {slice_}/cpu.max {slice_}/pids.max").splitlines() == [
        "1073741824",
        "100000 100000",
        "8192",
    ]


def test_files_in_memory_count_for_the_guard(github: GitHub, host: Host) -> None:
    """No process of the larger job has them; cgroup v2 knows whose they are."""
    ready(github)
    jobs = Jobs(github, host)
    files = jobs.submit("head -c 400M /dev/zero > /dev/shm/left; echo taken; sleep 3000")
    largest = instance_of(jobs.started(files, "taken\n", SLOW)["runner"])
    other = instance_of(jobs.started(jobs.submit(holding(100)), "taken\n", SLOW)["runner"])
    begun = host.now()

    def ended() -> list[float]:
        return [host.guard_ended(instance, begun) for instance in (largest, other)]

    with host.limits(memory_min_mib=1000000000):
        wait_for(lambda: all(ended()), "the guard ends both", SLOW)
        assert ended() == sorted(ended())


def test_an_orderly_restart(github: GitHub, host: Host) -> None:
    before = ready(github)
    boot = host.run("cat /proc/sys/kernel/random/boot_id")
    start = time.monotonic()
    host.call("systemctl reboot")

    def restarted() -> bool:
        answer = host.call("cat /proc/sys/kernel/random/boot_id")
        return answer.returncode == 0 and answer.stdout.strip() != boot

    wait_for(restarted, "the machine is back", SLOW)
    ready(github, but=before)
    print(f"restart to ready: {time.monotonic() - start:.0f} s")
    assert before not in [r["name"] for r in github.runners()], "deregistered before the restart"
