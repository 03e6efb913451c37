"""pytest-benchmark's JSON."""

import msgspec

from thebes.errors import FormatError

from .model import Benchmark


class _Stats(msgspec.Struct):
    min: float
    median: float
    mean: float
    stddev: float
    rounds: int
    data: list[float] = []


class _Entry(msgspec.Struct):
    fullname: str
    stats: _Stats
    group: str | None = None


class _Document(msgspec.Struct):
    benchmarks: list[_Entry]


def benchmarks(data: bytes, source: str) -> list[Benchmark]:
    """The measurements in `data`. FormatError tells what is not as pytest-benchmark writes it."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{source}: {error}") from None
    return [
        Benchmark(
            id=entry.fullname,
            group=entry.group or "",
            minimum=entry.stats.min,
            median=entry.stats.median,
            mean=entry.stats.mean,
            deviation=entry.stats.stddev,
            rounds=entry.stats.rounds,
            samples=tuple(entry.stats.data),
        )
        for entry in document.benchmarks
    ]
