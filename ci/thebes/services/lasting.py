"""Servers that outlive the command that started them: `thebes services up`, until `down`."""

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import msgspec

from thebes.errors import InputError

from .folders import is_held, sweep
from .guard import INSTRUCTIONS, LOCK
from .kinds import NotReadyError
from .launch import END_LIMIT
from .model import Server, Service, ServiceError, environment_of, matches
from .resolve import start
from .source import KINDS, Context


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written down of a server: itself, and the folder of its guard; none for one that is not ours."""

    server: Server
    folder: str | None


class State(NamedTuple):
    """A server as it is now; `problem` is empty if it answers."""

    server: Server
    problem: str


class Lasting:
    """The servers of one project. `folder` keeps what is known of them; passwords are in there, so it is ours only."""

    def __init__(
        self, root: Path, folder: Path, services: Mapping[str, Service], environment: Mapping[str, str]
    ) -> None:
        self.root = root
        self.folder = folder
        self.services = services
        self._environment = environment
        folder.mkdir(mode=0o700, exist_ok=True)

    def up(self, name: str, version: str, tell: Callable[[str], None]) -> Server:
        """The server, which runs already or is started. ServiceError: it can't be had."""
        with self._alone():
            sweep()
            if kept := self._kept().get(name):
                if not _problem(kept) and matches(kept.server.version, version):
                    return kept.server
                if not _problem(kept):
                    raise InputError(f"{name}: {kept.server} runs already; thebes services down {name} first")
                self._forget(name, kept)
            context = Context(self.root, self.folder, self._environment, f"up-{name}", tell, detached=True)
            found = start(self.services[name], version, context)
            folder = None
            if found.guarded:
                folder = str(found.guarded.folder)
                found.guarded.release()
            self._write(name, Kept(server=found.server, folder=folder))
            return found.server

    def down(self, names: AbstractSet[str]) -> list[Server]:
        """Stop those of that name, or all if there is none; returns which there were."""
        with self._alone():
            stopped = {name: kept for name, kept in self._kept().items() if name in names or not names}
            for name, kept in stopped.items():
                self._forget(name, kept)
            sweep()
        return [kept.server for kept in stopped.values()]

    def status(self) -> list[State]:
        return [State(kept.server, _problem(kept)) for kept in self._kept().values()]

    def environment(self) -> dict[str, str]:
        """Variables of those that run."""
        running = {name: kept.server for name, kept in self._kept().items() if not _problem(kept)}
        return environment_of(running, self.services)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time changes what runs."""
        with (self.folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _kept(self) -> dict[str, Kept]:
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(msgspec.MsgspecError):  # of another version: its guard is swept when it ends
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Kept)
        return {name: kept for name, kept in found.items() if name in self.services}

    def _write(self, name: str, kept: Kept) -> None:
        path = self.folder / f"{name}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(kept))

    def _forget(self, name: str, kept: Kept) -> None:
        if kept.folder:
            _end(Path(kept.folder))
        (self.folder / f"{name}.json").unlink()


def _problem(kept: Kept) -> str:
    """Why a server can't be used; empty if it answers."""
    if kept.folder and not is_held(Path(kept.folder)):
        return "has ended"
    kind = KINDS.get(kept.server.name)
    if kind is None:
        return ""
    try:
        kind.probe(kept.server.url)
    except NotReadyError as error:
        return f"does not answer: {error}"
    return ""


def _end(folder: Path) -> None:
    """Ask the guard to end its server, and wait until it has. ServiceError: it does not."""
    if not is_held(folder):
        return
    guard = json.loads((folder / INSTRUCTIONS).read_bytes())["guard"]
    with (folder / LOCK).open("r+") as lock:
        os.kill(guard, signal.SIGTERM)  # it holds the lock, so it is the one that wrote its number
        waiter = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_EX), daemon=True)
        waiter.start()
        waiter.join(END_LIMIT)
    if waiter.is_alive():
        raise ServiceError("service-failed", f"{folder}: its guard, process {guard}, does not end")
