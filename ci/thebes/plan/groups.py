"""What a person wants kept in one shard: files that are never cut, files that share a shard, files that run alone.

What is said about files, by glob, holds for tests that no past run knows, too. Classes, markers and xdist's groups
are about tests: those that past runs know here, the others in the shards that hold their file. Pure.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from math import fsum
from pathlib import PurePosixPath
from typing import NamedTuple

from thebes.config import PlanConfig
from thebes.errors import nearest
from thebes.model import Piece

from .pack import Load, Setups

CLASS, MODULE = "class", "module"
MARKER = "@"  # before a marker's name


class Rules(NamedTuple):
    """What `pack` is told: files that stay whole, whether classes may be opened, and a group for each test that has
    one."""

    whole: frozenset[str] = frozenset()
    open_classes: bool = True
    groups: Mapping[str, str] = {}


class Bundles(NamedTuple):
    """Loads to pack, where files that share a shard are one load; `members` are that load's files."""

    loads: list[Load]
    members: dict[str, tuple[Load, ...]]

    def unpack(self, pieces: Iterable[Piece]) -> tuple[Piece, ...]:
        """The pieces with bundles taken apart again, sorted by file."""
        files = (
            each
            for piece in pieces
            for each in ([Piece(file=load.file) for load in self.members.get(piece.file, ())] or [piece])
        )
        return tuple(sorted(files, key=lambda piece: piece.file))


def bundle(loads: Sequence[Load], config: PlanConfig) -> Bundles:
    """The files of each pattern of `together` as one load; a file that several match belongs to the first."""
    patterns = [each for each in config.together if _is_glob(each)]
    free: list[Load] = []
    members: dict[str, list[Load]] = {}
    for load in loads:
        first = next((pattern for pattern in patterns if matches(load.file, pattern)), None)
        if first is None:
            free.append(load)
        else:
            members.setdefault(first, []).append(load)
    bundles = [
        Load(
            pattern,
            seconds=fsum(load.seconds for load in inside),
            overhead=fsum(load.overhead for load in inside),
            setups=_all(load.setups for load in inside),
        )
        for pattern, inside in members.items()
    ]
    return Bundles(free + bundles, {pattern: tuple(inside) for pattern, inside in members.items()})


def _all(setups: Iterable[Setups]) -> Setups:
    seconds = {name: costs for each in setups for name, costs in each.seconds.items()}
    return Setups(seconds, frozenset(seconds))


def rules(files: Iterable[str], config: PlanConfig, groups: Mapping[str, str], whole: Collection[str] = ()) -> Rules:
    """`whole`: files that can't be cut, whatever is configured."""
    every = MODULE in config.together
    kept = frozenset(
        file for file in files if every or file in whole or any(matches(file, each) for each in config.whole)
    )
    return Rules(kept, CLASS not in config.together, groups)


def without_groups(runs: Sequence[Mapping[str, float]]) -> tuple[tuple[Mapping[str, float], ...], dict[str, str]]:
    """Runs with plain node ids, and the group of each test that has one: xdist's `--dist loadgroup` writes
    `node id@group`."""
    groups: dict[str, str] = {}
    plain: list[Mapping[str, float]] = []
    for run in runs:
        named = {test: _named(test) for test in run if "@" in test}
        named = {test: found for test, found in named.items() if found[1]}
        groups |= dict(named.values())
        plain.append({named[test][0] if test in named else test: run[test] for test in run} if named else run)
    return tuple(plain), groups


def _named(test: str) -> tuple[str, str]:
    """The node id and its group; an `@` in a file's name or among parameters is no group."""
    name, _, group = test.rpartition("@")
    return (name, group) if "::" in name and "]" not in group else (test, "")


def unmatched(config: PlanConfig, files: Sequence[str]) -> list[str]:
    """What is said of files that no file is: each as one line, with the file that was probably meant."""
    folders = {folder.as_posix() for file in files for folder in PurePosixPath(file).parents}
    known = [*files, *sorted(folders - {"."})]
    globs = {
        "whole": config.whole,
        "serial": config.serial,
        "together": [each for each in config.together if _is_glob(each)],
    }
    return [
        f"tool.thebes.plan.{key}: no test file is {glob!r}; {nearest(glob, known)}".rstrip("; ")
        for key, given in globs.items()
        for glob in given
        if not any(matches(file, glob) for file in files)
    ]


def _is_glob(entry: str) -> bool:
    return entry not in {CLASS, MODULE} and not entry.startswith(MARKER)


def matches(file: str, pattern: str) -> bool:
    """Does the glob match? `**` crosses folders, `*` and `?` do not; a folder stands for all in it."""
    return _compiled(pattern).fullmatch(file) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.rstrip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")
