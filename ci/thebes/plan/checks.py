"""Commands of checks, as configured. Pure."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from thebes.checks.presets import PRESETS
from thebes.errors import InputError

WORKERS = re.compile(r"(?:-n|--numprocesses)=?(\w*)$")


def expanded(gate: str, checks: Sequence[str]) -> list[str]:
    """The checks, with the word `default` replaced by what it stands for in this gate."""
    if "default" in checks and gate not in PRESETS:
        raise InputError(f"tool.thebes.gates.{gate}.checks: there are defaults for {', '.join(PRESETS)} only")
    return [one for check in checks for one in (PRESETS[gate] if check == "default" else (check,))]


def parsed(check: str, gate: str) -> tuple[str, ...]:
    try:
        command = tuple(shlex.split(check))
    except ValueError as error:
        raise InputError(f"tool.thebes.gates.{gate}.checks: {check!r}: {error}") from None
    if not command:
        raise InputError(f"tool.thebes.gates.{gate}.checks: an empty command")
    return command


def refuse_lossy(command: Sequence[str], gate: str, *, parallel: bool) -> None:
    """`coverage run` measures the process that it starts; with xdist, others run the tests, and nobody says so."""
    words = list(command)
    runs = any(PurePosixPath(one).name == "coverage" and two == "run" for one, two in pairwise(words))
    if not runs or not {"pytest", "py.test"} & {PurePosixPath(word).name for word in words}:
        return
    numbers = [found[1] or following for word, following in pairwise([*words, ""]) if (found := WORKERS.match(word))]
    if numbers[-1] != "0" if numbers else parallel:
        raise InputError(
            f"tool.thebes.gates.{gate}.checks: {shlex.join(command)!r} would lose what xdist's workers execute;"
            " measure with pytest-cov instead (--cov, or the gate's coverage), or start no workers (-n 0)"
        )
