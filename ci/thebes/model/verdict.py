"""verdict.json."""

from enum import StrEnum
from typing import Any

from .base import FORMAT, Value


class VerdictKind(StrEnum):
    PASS = "PASS"  # noqa: S105  (the word, not a secret)
    FAIL = "FAIL"
    INVALID = "INVALID"


class Reason(Value, frozen=True, kw_only=True):
    """Why a verdict is not PASS, or what should be known about one that is. `subjects` name the culprits."""

    code: str
    verdict: VerdictKind
    text: str
    subjects: tuple[str, ...] = ()
    more: int = 0


class GateVerdict(Value, frozen=True, kw_only=True):
    """`absent`: nothing is configured for the gate. `counts`: tests by outcome, and `flaky`."""

    verdict: VerdictKind | None
    absent: bool = False
    reasons: tuple[Reason, ...] = ()
    counts: dict[str, int] = {}
    coverage: float | None = None
    changed_coverage: float | None = None


class Verdict(Value, frozen=True, kw_only=True):
    schema: int = FORMAT
    plan: str
    commit: str
    verdict: VerdictKind
    gates: dict[str, GateVerdict]
    reasons: tuple[Reason, ...] = ()
    notices: tuple[Reason, ...] = ()


JsonObject = dict[str, Any]
