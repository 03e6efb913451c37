"""What a process that died, or is about to be ended, leaves behind for whoever has to tell why.

Each process of a shard has three files beside the record, named after its worker: the stacks that faulthandler
writes, from C, whoever holds the interpreter's lock, and what the test printed since its last phase. The process
writes them, the one that survives it reads them: `thebes task`, or the controller of xdist.
"""

import contextlib
import os
import re
import signal
import stat
import sys
from pathlib import Path

MAIN = "main"  # in file names, for the process that is no worker
STACKS, CAPTURED = "stacks", "captured"
STREAMS = {1: "stdout", 2: "stderr"}
READ = 64 * 1024
# A signal that nothing else uses: the last but one real-time signal; on macOS the one that does nothing by default.
STACKS_SIGNAL: int = getattr(signal, "SIGINFO", 0) if sys.platform == "darwin" else signal.SIGRTMAX - 1
STACKS_END = "-- end of stacks --"
PHASE = re.compile(
    r'File ".*[\\/]_pytest[\\/]runner\.py", line \d+ in pytest_runtest_(setup|call|teardown)$', re.MULTILINE
)
INNER = re.compile(r'^  File ".*/(_pytest|pluggy|xdist|execnet|pytest|thebes_plugin|<frozen runpy>)[/">]')
FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+) in ')
LIBRARIES = ("site-packages", "dist-packages", f"lib/python{sys.version_info[0]}.", "thebes_plugin")


def stacks_file(folder: Path, worker: str) -> Path:
    return folder / f"{STACKS}-{worker or MAIN}.txt"


def captured_file(folder: Path, worker: str, stream: int) -> Path:
    return folder / f"{CAPTURED}-{worker or MAIN}-{STREAMS[stream]}.txt"


def keep_captured(folder: Path, worker: str) -> None:
    """Let pytest capture into files with a name, so that what a test printed outlives its process.

    pytest captures descriptors 1 and 2 into files without a name; each descriptor of such a file is led to one
    with a name instead. Where it captures otherwise, or not at all, nothing is done.
    """
    for target in STREAMS:
        with contextlib.suppress(OSError):
            _give_name(target, captured_file(folder, worker, target))


def _give_name(target: int, path: Path) -> None:
    told = os.fstat(target)
    if not stat.S_ISREG(told.st_mode) or told.st_nlink:
        return
    same = [number for number in range(256) if _same(number, told)]
    named = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if size := told.st_size:
            os.write(named, os.pread(target, size, 0))
        for number in same:
            os.dup2(named, number, inheritable=number == target)
    finally:
        os.close(named)


def _same(number: int, told: os.stat_result) -> bool:
    try:
        other = os.fstat(number)
    except OSError:
        return False
    return (other.st_dev, other.st_ino) == (told.st_dev, told.st_ino)


def stacks(folder: Path, worker: str, offset: int = 0, *, whole: bool = False) -> str:
    """What the stacks file says from `offset` on; `whole`: with the line that says that they are complete."""
    text = _read(stacks_file(folder, worker), offset)
    return text if whole else text.replace(STACKS_END, "").strip()


def captured(folder: Path, worker: str) -> dict[str, str]:
    """What the running test had printed, by the heading that pytest would give it."""
    texts = {name: _read(captured_file(folder, worker, stream)) for stream, name in STREAMS.items()}
    return {f"Captured {name}": text for name, text in texts.items() if text.strip()}


def _read(path: Path, offset: int = 0) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset, size - READ))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def forget(folder: Path) -> None:
    """Remove the files: what they said stands in the record."""
    for name in (STACKS, CAPTURED):
        for path in folder.glob(f"{name}-*.txt"):
            path.unlink(missing_ok=True)


def without_pytest(text: str) -> str:
    """Stacks with the frames of pytest itself counted instead of shown."""
    kept: list[str] = []
    left_out = 0
    for line in text.splitlines():
        if INNER.search(line):
            left_out += 1
            continue
        if left_out:
            kept.append(f"  … {left_out} frames of pytest")
            left_out = 0
        kept.append(line)
    return "\n".join([*kept, f"  … {left_out} frames of pytest"] if left_out else kept)


def phase_of(text: str) -> str:
    """The phase that a test was in, by its stacks: setup, call (also where they don't tell) or teardown."""
    found = PHASE.search(text)
    return found[1] if found else "call"


def place_of(text: str) -> tuple[str, int]:
    """Path and line of the innermost frame that is no library's; ("", 0) where there is none."""
    for frame in FRAME.finditer(text):
        if frame["path"].startswith("/") and not any(name in frame["path"] for name in LIBRARIES):
            return frame["path"], int(frame["line"])
    return "", 0


def how_it_died(code: int, oom_kills: int) -> str:
    """In words, from an exit code as `subprocess` gives it. `oom_kills`: how many the kernel had when it began."""
    if code >= 0:
        return f"the process ended with exit code {code}"
    name = signal_name(-code)
    if -code == signal.SIGKILL and count_oom_kills() > oom_kills:
        return f"{name}: the kernel killed it because memory had run out"
    return name


def signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def count_oom_kills() -> int:
    """Processes that the kernel killed for want of memory since it was started; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
