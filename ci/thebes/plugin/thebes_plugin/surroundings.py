"""What a process has started, opened and changed, looked at cheaply enough to be asked before and after each test.

Nothing here collects garbage: what refers to itself and is still open counts as open.
"""

import os
import select
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from weakref import WeakSet

LINUX = sys.platform == "linux"
DESCRIPTORS = "/proc/self/fd" if LINUX else "/dev/fd"
COMMAND = 120  # characters of a command line that are told
PYTEST_SETS = b"PYTEST_CURRENT_TEST"


class Look(NamedTuple):
    """How things are at a moment."""

    threads: set[threading.Thread]
    descriptors: set[int]
    children: set[int]
    environment: dict[Any, Any]
    folder: str
    tasks: set[Any]


class Thing(NamedTuple):
    """Something that was left behind: its kind, words for it, and whether it is still there. `wait`: gives it so many
    seconds to go by itself; None: it will not. `name`: of a variable; `.` for the working directory."""

    what: str
    text: str
    still: Callable[[], bool]
    wait: Callable[[float], object] | None = None
    name: str = ""


class Surroundings:
    """`ignored`: folders for temporary files that others clean up."""

    def __init__(self, ignored: Iterable[str]) -> None:
        self._loops: WeakSet[Any] = WeakSet()
        self._temporary = os.path.join(tempfile.gettempdir(), "")  # noqa: PTH118  (a Path drops the last slash)
        self._ignored = (f"{self._temporary}pytest-of-", *ignored)
        self.made: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keeps the paths of files and folders that are made where temporary ones go (an audit hook, PEP 578)."""
        if event == "open":
            if len(arguments) != 3 or type(arguments[2]) is not int or not arguments[2] & os.O_CREAT:
                return
        elif event != "os.mkdir":
            return
        path = arguments[0]
        if type(path) is str and path.startswith(self._temporary) and not path.startswith(self._ignored):
            self.made.append(path)

    def look(self) -> Look:
        return Look(
            set(threading.enumerate()), _descriptors(), _children(), _environment(), _folder(), self._pending_tasks()
        )

    def new(self, before: Look, now: Look) -> list[Thing]:
        """What is there now and was not before."""
        opened = [found for number in sorted(now.descriptors - before.descriptors) if (found := _opened(number))]
        if any(one.polls for one in opened):
            self._find_loops()
            now = now._replace(tasks=self._pending_tasks())
        loops = [loop for loop in self._loops if not loop.is_closed() and _own(loop) & {one.number for one in opened}]
        inside = {number for loop in loops for number in _own(loop)} | _of_multiprocessing(
            "_fd", "_forkserver_alive_fd"
        )
        helpers = _of_multiprocessing("_pid", "_forkserver_pid")
        return [
            *map(_thread, _by_name(now.threads - before.threads)),
            *map(_task, now.tasks - before.tasks),
            *map(_loop, loops),
            *filter(None, map(_process, sorted(now.children - before.children - helpers))),
            *(_descriptor(one) for one in opened if one.number not in inside),
            *map(_file, self._left_files()),
            *_variables(before.environment, now.environment),
            *([_folder_thing(before.folder, now.folder)] if before.folder != now.folder else []),
        ]

    def find_loops(self) -> None:
        """Those that are there already; their tasks are looked at from now on."""
        if any(found.polls for found in filter(None, map(_opened, _descriptors()))):
            self._find_loops()

    def _find_loops(self) -> None:
        import asyncio  # noqa: PLC0415  (where somebody polls it is there, or nearly so)
        import gc  # noqa: PLC0415

        self._loops.update(one for one in gc.get_objects() if issubclass(type(one), asyncio.AbstractEventLoop))

    def _pending_tasks(self) -> set[Any]:
        """Of the loops that are known: those that outlived a test, or the set-up of a fixture."""
        if not self._loops:
            return set()
        all_tasks = sys.modules["asyncio"].all_tasks
        return {task for loop in list(self._loops) if not loop.is_closed() for task in all_tasks(loop)}

    def _left_files(self) -> list[str]:
        kept: list[str] = []
        for path in sorted(set(self.made)):
            if os.path.lexists(path) and not (kept and path.startswith(f"{kept[-1]}/")):
                kept.append(path)
        return kept


class _Opened(NamedTuple):
    number: int
    identity: tuple[int, int, int]
    target: str
    polls: bool


def _descriptors() -> set[int]:
    """Numbers of the open descriptors, without the one that it takes to list them."""
    try:
        found = set(map(int, os.listdir(DESCRIPTORS)))  # noqa: PTH208  (ten times as fast)
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return set()
    os.close(lowest)  # the lowest that is free, as the listing's was
    found.discard(lowest)
    return found


def _opened(number: int) -> _Opened | None:
    try:
        told = os.fstat(number)
        target = os.readlink(f"{DESCRIPTORS}/{number}") if LINUX else ""  # noqa: PTH115
    except OSError:
        return None  # closed meanwhile
    if Path(target).name.startswith(".coverage"):
        return None
    polls = target == "anon_inode:[eventpoll]" if LINUX else not stat.S_IFMT(told.st_mode)
    return _Opened(number, (told.st_dev, told.st_ino, stat.S_IFMT(told.st_mode)), target, polls)


def _descriptor(one: _Opened) -> Thing:
    def still() -> bool:
        now = _opened(one.number)
        return now is not None and now.identity == one.identity

    if stat.S_ISSOCK(one.identity[2]):
        return Thing("socket", f"socket {_address(one.number)}".strip(), still)
    return Thing("descriptor", f"descriptor {one.number}" + (f" of {one.target}" if one.target else ""), still)


def _address(number: int) -> str:
    """Where a socket listens or is connected to, as far as it tells."""
    try:
        with socket.socket(fileno=os.dup(number)) as known:
            mine = _place(known.getsockname())
            try:
                return f"from {mine} to {_place(known.getpeername())}".replace("from  to ", "").strip()
            except OSError:
                listens = known.getsockopt(socket.SOL_SOCKET, getattr(socket, "SO_ACCEPTCONN", 30))
                return f"{'that listens' if listens else 'bound'} at {mine}" if mine else ""
    except OSError:
        return ""


def _place(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else str(address or "")


def _by_name(threads: Iterable[threading.Thread]) -> Iterator[threading.Thread]:
    """Those that Python started: of others it makes up an object that never goes away."""
    known = (thread for thread in threads if thread.is_alive() and not thread.name.startswith("Dummy-"))
    return iter(sorted(known, key=lambda thread: thread.name))


def _thread(thread: threading.Thread) -> Thing:
    daemon = ", a daemon" if thread.daemon else ""
    return Thing("thread", f"thread {thread.name}{daemon}", thread.is_alive, thread.join)


def _task(task: Any) -> Thing:
    name = getattr(task.get_coro(), "__qualname__", "") or str(task.get_coro())
    return Thing("task", f"asyncio task {task.get_name()} of {name}", lambda: not task.done())


def _loop(loop: Any) -> Thing:
    doing = "that still runs" if loop.is_running() else "that was not closed"
    return Thing("loop", f"event loop {doing}", lambda: not loop.is_closed())


def _own(loop: Any) -> set[int]:
    """Descriptors that an event loop of asyncio has for itself."""
    found = set()
    for name in ("_selector", "_ssock", "_csock"):
        try:
            found.add(getattr(loop, name).fileno())
        except (AttributeError, OSError, ValueError, RuntimeError):
            continue
    return found


def _children() -> set[int]:
    """Processes that this one started and did not wait for; Linux."""
    if not LINUX:
        return set()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return set()  # the usual case: there are none
    found: set[int] = set()
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
        try:
            found.update(map(int, Path(f"/proc/self/task/{thread}/children").read_bytes().split()))
        except OSError:
            continue
    return found


def _process(pid: int) -> Thing | None:
    if not _lives(pid):
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return None
    return Thing(
        "process", f"process {pid}: {command[:COMMAND]}", lambda: pid in _children() and _lives(pid), _waiter(pid)
    )


def _lives(pid: int) -> bool:
    """It has not ended. One that has and is not waited for holds nothing but its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except OSError:
        return False


def _waiter(pid: int) -> Callable[[float], object]:
    def wait(seconds: float) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, AttributeError):
            return
        try:
            select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)

    return wait


def _of_multiprocessing(*names: str) -> set[int]:
    """What multiprocessing keeps for the whole life of a process."""
    found = set()
    for module, one in (("resource_tracker", "_resource_tracker"), ("forkserver", "_forkserver")):
        known = getattr(sys.modules.get(f"multiprocessing.{module}"), one, None)
        found |= {number for name in names if isinstance(number := getattr(known, name, None), int)}
    return found


def _file(path: str) -> Thing:
    kind = "folder" if os.path.isdir(path) else "file"  # noqa: PTH112
    return Thing("file", f"temporary {kind} {path}", lambda: os.path.lexists(path))


def _environment() -> dict[Any, Any]:
    """As the environment has it inside: decoding it would take ten times as long."""
    inside: dict[Any, Any] = getattr(os.environ, "_data", None) or dict(os.environ)
    return inside.copy()


def _variables(before: dict[Any, Any], now: dict[Any, Any]) -> Iterator[Thing]:
    """Their names only: values may be secret."""
    if before == now:
        return
    for name in sorted(before.keys() | now.keys()):
        if name == PYTEST_SETS or before.get(name) == now.get(name):
            continue
        how = "set" if name not in before else "removed" if name not in now else "changed"
        text = os.fsdecode(name)
        yield Thing("variable", f"environment variable {text} {how}", _unchanged(name, now.get(name)), name=text)


def _unchanged(name: Any, value: Any) -> Callable[[], bool]:
    return lambda: _environment().get(name) == value


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _folder_thing(before: str, now: str) -> Thing:
    text = f"working directory {now or 'that is gone'}, was {before}"
    return Thing("folder", text, lambda: _folder() == now, name=".")


def give_time(things: Iterable[Thing], seconds: float) -> float:
    """Let threads and processes that are about to end do so; returns the seconds that it took."""
    began = monotonic()
    for thing in things:
        if thing.wait and (left := began + seconds - monotonic()) > 0:
            thing.wait(left)
    return monotonic() - began
