from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from thebes_runner import processes
from thebes_runner.errors import HostError
from thebes_runner.processes import Process


def process(pid: int, parent: int, uid: int = 1000, name: str = "x", started: float = 0) -> Process:
    return Process(pid=pid, parent=parent, uid=uid, name=name, started=started, rss_mib=1)


def test_a_name_with_brackets_and_spaces_is_read_right() -> None:
    text = "42 (evil) R 1 (x) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1000 50 0"
    name, parent, started, _ = processes.parse_stat(text)
    assert (name, parent) == ("evil) R 1 (x", 7)
    assert started == pytest.approx(12345 / processes.TICKS)


def test_this_process_is_seen_with_its_age() -> None:
    own = processes.read(os.getpid())
    assert own is not None
    assert own.uid == os.getuid()
    assert 0 < processes.since_boot() - own.started < 3600


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while processes.read(child.pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.wait()
    assert processes.read(child.pid) is None


def test_user_ids_of_an_instance_include_its_containers() -> None:
    subuid = "thebes-a:100000:65536\nthebes-b:165536:65536\n"
    own = processes.uid_ranges(1000, "thebes-a", subuid)
    found = processes.owned_by(own, [process(1, 0, uid=u) for u in (0, 1000, 100000, 165535, 165536)])
    assert [p.uid for p in found] == [1000, 100000, 165535]


def test_descendants_are_children_and_theirs() -> None:
    tree = [process(1, 0), process(2, 1), process(3, 2), process(4, 3), process(5, 1)]
    assert {p.pid for p in processes.descendants(2, tree)} == {3, 4}


def test_the_oldest_worker_is_the_real_one() -> None:
    workers = [
        process(9, 1, name="Runner.Worker", started=50),
        process(4, 1, name="Runner.Worker", started=10),
    ]
    found = processes.oldest_worker([*workers, process(1, 0)])
    assert found is not None
    assert found.pid == 4


def test_signals_to_ended_processes_are_no_error() -> None:
    processes.send([process(2**22 - 1, 1)], signal.SIGTERM)


@pytest.mark.parametrize("change", [{"started": 1.0}, {"uid": 4242}], ids=["age", "owner"])
def test_a_process_that_got_the_number_of_another_is_spared(change: dict[str, Any]) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        seen = processes.read(child.pid)
        assert seen is not None
        processes.send([dataclasses.replace(seen, **change)], signal.SIGKILL)
        processes.send([seen], signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM


# Ends its first thread only: exit(2) by its number.
HEADLESS = """
import ctypes, platform, sys, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
sys.stdout.write("ready")
sys.stdout.flush()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


def test_a_process_whose_first_thread_has_ended_still_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", HEADLESS], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read(5) == b"ready"
        deadline = time.monotonic() + 10
        stat = Path(f"/proc/{child.pid}/stat")
        while ") Z" not in stat.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)  # nobody can wait for the end of another process's thread
        seen = processes.read(child.pid)
        child.kill()
        assert seen is not None


def test_survivors_of_sigkill_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "every", lambda: [process(2**22 - 1, 1, uid=4242, name="stuck")])
    with pytest.raises(HostError, match=r"1 processes survive SIGKILL: stuck \(4194303\)"):
        processes.kill_all([range(4242, 4243)], patience=0.0, pause=lambda _: None)


def test_free_memory_is_read_in_mib() -> None:
    assert processes.memory_available_mib("MemTotal: 1 kB\nMemAvailable:   2048 kB\n") == 2.0


def test_workers_and_ancestors_are_found_by_name(tmp_path: Path) -> None:
    program = tmp_path / "Runner.Worker"
    program.write_text("#!/bin/bash\necho $$\nsleep 60 &\necho $!\nwait\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pid, child = (int(worker.stdout.readline()) for _ in range(2))
        try:
            assert pid in processes.workers({os.getuid()})
            assert pid not in processes.workers({os.getuid() + 1})
            found = processes.ancestor(child, processes.WORKER)
            assert (found and found.pid, pid) == (pid, worker.pid)
            assert processes.ancestor(pid, processes.WORKER) is None
        finally:
            os.kill(child, signal.SIGKILL)
            worker.kill()
