"""What the planning tables have in common: playing a plan against what really happened, and printing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum
from statistics import quantiles

from _peers import Split

from thebes.model import Piece
from thebes.plan.estimate import FileEstimates
from thebes.plugin.thebes_plugin.split import Cut

Times = Mapping[str, float]
Estimator = Callable[[Sequence[Times]], FileEstimates]
History = Mapping[str, Sequence[tuple[list[Times], Times]]]  # project → (runs so far, the next one)


def lower_bound(times: Times, shards: int) -> float:
    return max(fsum(times.values()) / shards, *times.values())


def ratio(split: Split, times: Times, shards: int) -> float:
    return max(fsum(times[name] for name in names) for names in split) / lower_bound(times, shards)


def file_of(name: str) -> str:
    return name.partition("::")[0]


def shards_per_file(split: Split) -> float:
    held = sum(len({file_of(name) for name in names}) for names in split)
    return held / len({file_of(name) for names in split for name in names})


def played(plan: Sequence[Sequence[Piece]], times: Times) -> Split:
    """Which shard runs which of the tests that there really are, by the rules every shard follows."""
    held: dict[str, list[tuple[int, Piece]]] = {}
    for shard, pieces in enumerate(plan):
        for piece in pieces:
            held.setdefault(piece.file, []).append((shard, piece))
    cuts = {
        file: Cut(file, [[name[len(file) + 2 :] for name in piece.tests or ()] for _, piece in pieces])
        for file, pieces in held.items()
    }
    split: Split = [[] for _ in plan]
    for name in times:
        file, _, test = name.partition("::")
        split[held[file][cuts[file].owner(test)][0]].append(name)
    return split


def pieces_per_file(plan: Sequence[Sequence[Piece]]) -> float:
    return sum(map(len, plan)) / len({piece.file for pieces in plan for piece in pieces})


def files_in(times: Times) -> list[str]:
    return sorted({file_of(name) for name in times})


def ninth(values: Iterable[float]) -> float:
    """The 90th percentile."""
    return quantiles(values, n=10, method="inclusive")[-1]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
