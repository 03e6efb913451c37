"""What a job can leave behind, and the ways in which it can stand against its removal."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Command, Runners
from thebes_runner import docker, processes, reset, system
from thebes_runner.errors import HostError
from thebes_runner.settings import Instance

OWN = [range(os.getuid(), os.getuid() + 1)]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """A runner of this user, on a host whose shared places are folders of the test."""
    for name in ("crontabs", "shared", "linger", "base/runner"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(reset, "CRONTABS", (tmp_path / "crontabs", tmp_path / "none"))
    monkeypatch.setattr(reset, "SHARED_DIRECTORIES", (str(tmp_path / "shared"), str(tmp_path / "none")))
    monkeypatch.setattr(reset, "LINGER", tmp_path / "linger")
    monkeypatch.setattr(reset, "SYSV", tmp_path / "none")
    return Instance(name="a", user=pwd.getpwuid(os.getuid()).pw_name, directory=str(tmp_path / "base"))


def test_deleting_takes_any_breadth(tmp_path: Path) -> None:
    """Their names together are longer than what the kernel takes as arguments."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    victim = tmp_path / "victim"
    victim.mkdir()
    for number in range(20_000):
        os.close(os.open(f"{victim}/{number:0250}", os.O_CREAT))
    (victim / "link").symlink_to(outside)
    reset.delete(entry for entry, _ in reset.entries(victim))
    assert list(victim.iterdir()) == []
    assert (outside / "keep").exists()


def test_deleting_begins_before_all_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of names would be gigabytes in root's process."""
    for number in range(2000):
        os.close(os.open(f"{tmp_path}/{number:0200}", os.O_CREAT))
    scan = os.scandir
    read: list[str] = []

    class Counting(contextlib.ExitStack):
        def __init__(self, directory: Path) -> None:
            super().__init__()
            self.entries = self.enter_context(scan(directory))

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            for entry in self.entries:
                read.append(entry.name)
                yield entry

    monkeypatch.setattr(os, "scandir", Counting)
    seen: list[int] = []
    monkeypatch.setattr(system, "run", lambda *_, **__: seen.append(len(read)))
    reset.delete(entry for entry, _ in reset.entries(tmp_path))
    assert seen[0] < 500
    assert seen[-1] == 2000


def test_chunks_keep_all_and_their_order() -> None:
    arguments = ["a" * 10, "\udcff" * 50, "b", "c" * 4]
    assert list(reset.chunks(arguments, limit=12)) == [[arguments[0]], [arguments[1]], ["b", "cccc"]]
    assert list(reset.chunks([])) == []


def test_a_command_that_cannot_start_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"^/bin/true x+… could not be started: .*too long"):
        system.run("/bin/true", *["x" * 100_000] * 100)
    with pytest.raises(HostError, match="could not be started"):
        system.run(str(tmp_path / "none"))


def test_files_that_others_remove_meanwhile_are_no_error(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).touch()
    first, second, third = tmp_path.iterdir()
    found = []
    for entry, _ in reset.entries(tmp_path):
        found.append(entry)
        second.unlink(missing_ok=True)
    assert found == [first, third]
    assert list(reset.entries(tmp_path / "none")) == []


def test_schedules_go_before_the_processes_and_what_came_in_between_too(
    instance: Instance, runner: Runners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """cron starts something between kill and deletion, which writes where all was deleted."""
    spool, linger = tmp_path / "crontabs" / "x", tmp_path / "linger" / instance.user
    spool.touch()
    linger.touch()
    log = tmp_path / "log.txt"
    command("systemctl", f"echo $2 $(ls {shlex.quote(str(spool.parent))}) >>{shlex.quote(str(log))}")
    (tmp_path / "base" / "first").touch()
    kills = []

    def kill_all(_: list[range]) -> int:
        kills.append(spool.exists() or linger.exists())
        if len(kills) == 2:
            (tmp_path / "base" / "late").touch()
            (tmp_path / "shared" / "late").touch()
        return int(len(kills) < 3)

    monkeypatch.setattr(processes, "kill_all", kill_all)
    monkeypatch.setattr(reset, "install", lambda *_: None)
    reset.reset(runner(instance), instance)
    assert log.read_text().splitlines() == [
        "thebes-job@a.service x",
        f"user@{os.getuid()}.service",
        f"user-runtime-dir@{os.getuid()}.service",
    ]
    assert kills == [False, False, False]
    assert [p.name for p in (tmp_path / "base").iterdir()] == ["runner"]
    assert list((tmp_path / "shared").iterdir()) == []


def test_what_is_put_beside_the_sockets_goes(
    instance: Instance, runner: Runners, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], list[str]]
) -> None:
    """Units there would be started with the next job's user manager."""
    unit = instance.runtime_dir / "systemd/user/evil.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    monkeypatch.setattr(processes, "kill_all", lambda _: 0)
    monkeypatch.setattr(reset, "install", lambda *_: None)
    reset.reset(runner(instance), instance)
    assert list(instance.runtime_dir.iterdir()) == []
    stopped = [f"systemctl stop {unit}@{instance.uid}.service" for unit in ("user", "user-runtime-dir")]
    assert [call for call in calls() if "user" in call] == stopped


def test_keys_are_cleared_by_their_user(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path
) -> None:
    """And the one that outlives its processes by root."""
    log = tmp_path / "cleared"
    command("setpriv", f'echo "$1" "$5" "$6" "$7" >>{log}')
    command(
        "keyctl",
        f"""case "$1" in
      session) shift 2; exec "$@" ;;
      get_persistent) [ -e {tmp_path}/none ] && echo "4711 $3" ;;
      clear) echo "root $*" >>{log} ;;
    esac""",
    )
    monkeypatch.setattr(reset, "KEYS", tmp_path)
    own = [f"--reuid={instance.uid} keyctl clear {keyring}" for keyring in ("@u", "@us")]
    reset.clear_keyrings(instance)
    assert log.read_text().splitlines() == own
    (tmp_path / "none").touch()
    log.unlink()
    reset.clear_keyrings(instance)
    assert log.read_text().splitlines() == [f"root clear 4711 {instance.uid}", *own]
    log.unlink()
    command("keyctl", "exit 1")  # a container that may not
    reset.clear_keyrings(instance)
    assert not log.exists()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match=r"keyctl .*could not be started"):
        reset.clear_keyrings(instance)


def test_processes_that_never_end_to_come_are_told(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "kill_all", lambda _: 1)
    with pytest.raises(HostError, match="something starts processes"):
        reset.clear(instance, OWN, keep_docker=False, keep_registration=False)


def test_logs_that_cannot_be_kept_do_not_keep_the_deletion(
    instance: Instance, runner: Runners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """A full disk: what is to be deleted would make the room."""
    diag = instance.runner_dir / "_diag"
    diag.mkdir()
    (diag / "Worker_1.log").write_text("x")
    (tmp_path / "log").touch()  # no folder can be made there
    (tmp_path / "base" / "first").touch()
    command("systemctl", "")
    monkeypatch.setattr(processes, "kill_all", lambda _: 0)
    monkeypatch.setattr(reset, "install", lambda *_: None)
    reset.reset(runner(instance, diagnostics_max_mib=1), instance)
    assert not (tmp_path / "base" / "first").exists()


def test_a_registration_is_kept_only_as_a_file_of_the_user(instance: Instance) -> None:
    owner = 4242 if os.getuid() == 0 else -1  # root's entries are the release
    (instance.runner_dir / ".runner").mkdir()
    (instance.runner_dir / ".credentials").symlink_to("/etc/passwd")
    (instance.runner_dir / ".credentials_rsaparams").touch()
    for entry in instance.runner_dir.iterdir():
        os.chown(entry, owner, -1, follow_symlinks=False)
    reset.wipe(instance, keep_docker=False, keep_registration=True)
    assert [p.name for p in instance.runner_dir.iterdir()] == [".credentials_rsaparams"]


def test_a_docker_daemon_that_does_not_obey_loses_its_images(
    instance: Instance, runner: Runners, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def ready(self) -> bool:
            return True

        def remove_work(self, **_: object) -> None:
            raise HostError("a list whose Id is no name")

    monkeypatch.setattr(docker, "rootless", lambda _: Broken())
    values = runner(instance, docker_mode="rootless", docker_keep_images=True)
    assert not reset.clean_docker(values, instance)


def test_what_was_kept_and_is_broken_is_not_kept_again(
    instance: Instance, runner: Runners, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], list[str]]
) -> None:
    """A job can break its daemon's files, and end the daemon before anybody can look."""

    class Broken:
        def wait(self, _: float) -> None:
            raise HostError("not ready")

    monkeypatch.setattr(docker, "rootless", lambda _: Broken())
    kept = Path(instance.directory, "docker", "images")
    kept.mkdir(parents=True)
    values = runner(instance, docker_mode="rootless", docker_keep_images=True)
    with pytest.raises(HostError, match="not ready"):
        reset.start_user_services(values, instance)
    assert not kept.parent.exists()
    assert calls() == [
        f"systemctl start user@{instance.uid}.service",
        f"systemctl stop user@{instance.uid}.service",
        f"systemctl stop user-runtime-dir@{instance.uid}.service",
    ]


SEMAPHORES = """
       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
         0          3   644          1  1000  1000  1000  1000          0 1700000000
         0          4   644          1     0     0     0     0          0 1700000000
         0          5   644          1     0     0 100001     0          0 1700000000
"""


def test_ipc_of_the_user_and_its_containers_is_found_by_owner_and_maker() -> None:
    found = reset.ipc_arguments("sem", SEMAPHORES.strip("\n"), [range(1000, 1001), range(100_000, 165_536)])
    assert found == ["--semaphore-id=3", "--semaphore-id=5"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to act as another user")
def test_ipc_that_is_left_is_removed() -> None:
    ranges = [range(4242, 4243)]
    subprocess.run(["ipcmk", "-M", "64", "-S", "1", "-Q"], user=4242, check=True, capture_output=True)
    before = reset.all_ipc(ranges)
    reset.remove_ipc(ranges)
    assert [a.partition("=")[0] for a in before] == ["--shmem-id", "--semaphore-id", "--queue-id"]
    assert reset.all_ipc(ranges) == []


def test_a_folder_is_measured_by_size_and_by_number(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2**21)
    assert 2 <= system.disk_used(tmp_path) < 3
    assert system.disk_used(tmp_path, inodes=True) == 2
    assert system.disk_used(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("text", "used"), [("echo 1048576 x; exit 1", 1.0), ("exec sleep 60", float("inf"))], ids=["vanished", "slow"]
)  # fmt: skip
def test_a_folder_that_changes_or_takes_too_long_is_measured_all_the_same(
    tmp_path: Path, command: Command, text: str, used: float
) -> None:
    command("du", text)
    assert system.disk_used(tmp_path, timeout=0.2) == used


def test_any_number_of_diagnostics_does_not_fill_the_hosts_logs(
    instance: Instance, runner: Runners, tmp_path: Path
) -> None:
    runner(instance)  # puts the logs into the test's folder
    diag = instance.runner_dir / "_diag"
    diag.mkdir()
    for number in range(reset.MAX_DIAGNOSTICS + 5):
        (diag / f"{number}.log").touch()
    reset.keep_diagnostics(instance, max_mib=1)
    assert len(list((tmp_path / "log").rglob("*.log"))) == reset.MAX_DIAGNOSTICS


def test_of_a_long_diagnostic_the_end_is_kept(instance: Instance, runner: Runners, tmp_path: Path) -> None:
    runner(instance)
    diag = instance.runner_dir / "_diag"
    diag.mkdir()
    (diag / "Worker_1.log").write_bytes(b"x" * (3 << 20) + b"the reason")
    (diag / "Worker_2.log").write_text("no room")
    reset.keep_diagnostics(instance, max_mib=1)
    (kept,) = (tmp_path / "log").rglob("*.log")
    assert kept.stat().st_size == 1 << 20
    assert kept.read_bytes().endswith(b"the reason")


def test_any_number_of_files_among_the_diagnostics_is_not_looked_through(
    instance: Instance, runner: Runners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner(instance)
    monkeypatch.setattr(reset, "MAX_LOOKED", 3)
    diag = instance.runner_dir / "_diag"
    diag.mkdir()
    for number in range(50):
        (diag / f"{number}.log").touch()
    reset.keep_diagnostics(instance, max_mib=1)
    assert len(list((tmp_path / "log").rglob("*.log"))) == 3


def test_the_root_daemon_begins_anew_between_jobs_when_its_settings_are_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """Started 50 s after boot, or not at all; a clock that was ahead when the file was written is no reason."""
    file, log = tmp_path / "docker.json", tmp_path / "log"
    file.touch()
    monkeypatch.setattr(reset, "ROOT_DAEMON_READS", (file, tmp_path / "none"))
    booted = time.time() - time.monotonic()
    for state, written, restarted in (
        ("active", booted + 49, False),
        ("active", booted + 51, True),
        ("active", time.time() + 3600, False),
        ("inactive", booted + 49, True),
    ):
        shown = f"ActiveState={state}\\nExecMainStartTimestampMonotonic=50000000\\n"
        command("systemctl", f'[ "$1" = show ] || echo "$@" >>{log}; printf "{shown}"')
        os.utime(file, (written, written))
        reset.renew_root_daemon()
        expected = "daemon-reload\nrestart docker.service\n" if restarted else ""
        assert (log.read_text() if log.exists() else "") == expected
        log.unlink(missing_ok=True)
