"""Whole-process measurements: wall time, processor time and peak memory, as the kernel accounts for them."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Usage(NamedTuple):
    """Seconds of wall time and of processor time, with all children; peak memory of the largest process in MB."""

    wall: float
    cpu: float
    memory: float


def measure(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    expected: Collection[int] = (0, 1),
) -> Usage:
    """Run `command` to its end, its output thrown away. RuntimeError if it ends otherwise than `expected`."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None  # noqa: S101  (for the type checker)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {said[-500:]}")
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return Usage(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / scale)


def table(usages: Mapping[str, Sequence[Usage]], reference: str) -> None:
    """Print medians, and each as a ratio to the reference."""
    base = medians(usages[reference])
    print(f"{'':32} {'wall s':>9} {'cpu s':>9} {'MB':>7}   wall, cpu, memory as a ratio to {reference}")
    for name, values in usages.items():
        mine = medians(values)
        ratios = "  ".join(f"{a / b:6.3f}" for a, b in zip(mine, base, strict=True))
        print(f"{name:32} {mine.wall:9.3f} {mine.cpu:9.3f} {mine.memory:7.0f}   {ratios}")


def medians(values: Sequence[Usage]) -> Usage:
    return Usage(*(statistics.median(column) for column in zip(*values, strict=True)))
