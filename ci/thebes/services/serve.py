"""The servers of one task: up before its child starts, ended with it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .folders import sweep
from .model import Server, Service, environment_of
from .resolve import start
from .source import Context, Running


class Served:
    """What runs for a task. `environment`: the variables for its child."""

    def __init__(self, running: Mapping[str, Running], services: Mapping[str, Service]) -> None:
        self._running = running
        self.servers: dict[str, Server] = {name: one.server for name, one in running.items()}
        self.environment = environment_of(self.servers, services)

    def full(self) -> Iterable[str]:
        """Servers whose disk was full, each with what its log says of that."""
        for name, one in self._running.items():
            if one.guarded and (words := one.guarded.no_space()):
                yield f"{name}: {words}"

    def died(self) -> Iterable[str]:
        """Servers that ended by themselves, each with the end of its log."""
        for name, one in self._running.items():
            if one.guarded and one.guarded.has_ended():
                words = one.guarded.last_words().splitlines()[-3:]
                yield f"{name}: {one.guarded.ended}; its log ends with: {' / '.join(words)}"


@contextmanager
def served(
    wanted: Mapping[str, str],
    services: Mapping[str, Service],
    root: Path,
    logs: Path,
    environment: Mapping[str, str],
    name: str,
    tell: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Served]:
    """Servers for `wanted`, version by name, as long as the context lasts. ServiceError: one can't be had.

    `name` becomes part of folders and projects; their logs go to the folder `logs`.
    """
    if wanted:
        sweep()
    with ExitStack() as stack:
        running = {}
        context = Context(root, logs, environment, name, tell, stopped)
        for service, version in wanted.items():
            found = start(services[service], version, context)
            if found.guarded:
                stack.callback(found.guarded.stop)
            tell(str(found.server))
            running[service] = found
        yield Served(running, services)
