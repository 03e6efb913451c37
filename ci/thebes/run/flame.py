"""A flame graph of a session, drawn by py-spy, which looks at the process from outside.

It is started beside the process and not around it, so that nothing about the process or its end is different. Where
it may not look, the tests run all the same, and its own words are kept.
"""

import contextlib
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

GRAPH, WORDS = "flame.svg", "flame.log"
RATE = 100  # samples a second
TRIES = 3  # a process may not be one that py-spy understands in its first moments
PATIENCE = 30.0  # seconds that drawing may take after the last test


def find_sampler(environment: Mapping[str, str], interpreter: str) -> tuple[str, ...]:
    """The command of py-spy: on PATH, beside the Python of the tests, or beside ours; empty if there is none."""
    places = [environment.get("PATH"), str(Path(interpreter).parent), sysconfig.get_path("scripts")]
    found = next((path for place in places if place and (path := shutil.which("py-spy", path=place))), None)
    if found is None:
        return ()
    return (found, "record", "--subprocesses", "--rate", str(RATE), "--format", "flamegraph")


class Flames:
    """Draws into `folder`, unless there is no command for that."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._sampler: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._tries = 0

    def begin(self, pid: int) -> None:
        self._pid = pid
        if self._command:
            self._start()

    def ticked(self) -> None:
        """It gave up, and the process goes on."""
        if self._sampler and self._sampler.poll() and self._tries < TRIES:
            self._start()

    def _start(self) -> None:
        self._tries += 1
        with (self._folder / WORDS).open("wb") as words, contextlib.suppress(OSError):
            self._sampler = subprocess.Popen(
                [*self._command, "--output", str(self._free()), "--pid", str(self._pid)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _free(self) -> Path:
        """A session that follows a crash has a graph of its own."""
        number, path = 1, self._folder / GRAPH
        while path.exists():
            number += 1
            path = path.with_stem(f"{Path(GRAPH).stem}-{number}")
        return path

    def end(self) -> None:
        """The process has ended; wait until the graph is drawn."""
        if self._sampler is None:
            return
        try:
            self._sampler.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._sampler.send_signal(signal.SIGKILL)
            self._sampler.wait()


def last_words(folder: Path) -> str:
    """Why there is no graph in an attempt's folder."""
    try:
        lines = (folder / WORDS).read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    told = [line.strip() for line in lines if line.strip() and not line.startswith("py-spy>")]
    return told[0][:300] if told else "it said nothing"
