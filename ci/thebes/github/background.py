"""Rounds within a budget of time. Pure: what is run next, and what all rounds together are worth."""

from collections.abc import Sequence

from thebes.model import Value, VerdictKind

MOST = 350  # minutes; a job of GitHub's own runners ends after 360
WORST = (VerdictKind.PASS, VerdictKind.FAIL, VerdictKind.INVALID)
MARKER = "background or long_running"


class Round(Value, frozen=True, kw_only=True):
    """One run of the suites: its verdict, and how long it took in seconds."""

    verdict: VerdictKind
    seconds: float


def another(rounds: Sequence[Round], left: float) -> bool:
    """Whether another round fits into the seconds that are left: the first always, a later one if it may take as long
    as the longest before. A round that the budget would cut proves nothing."""
    return not rounds or left > max(one.seconds for one in rounds)


def worst(rounds: Sequence[Round]) -> VerdictKind:
    """The verdict over all rounds; no round at all is no evidence."""
    return max((one.verdict for one in rounds), key=WORST.index, default=VerdictKind.INVALID)


def arguments(scenario: str) -> list[str]:
    """What pytest is told: the long suites, and of them those that the scenario's name selects."""
    return ["-m", MARKER, *(["-k", scenario] if scenario else [])]
