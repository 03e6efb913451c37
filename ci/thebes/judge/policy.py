"""What a run is held against. Policy comes from the base commit: a change can tighten it at once, relax it never."""

import datetime as dt
from collections.abc import Callable, Mapping

from thebes.config import Baseline, Config, GateConfig, Quarantine
from thebes.model import Value
from thebes.plan.groups import matches

from .facts import FindingFact


class Policy(Value, frozen=True, kw_only=True):
    """`coverage`: percent by project and gate; `changed`: the same of the lines that a change touches.
    `relaxed`: what the change would loosen, in words."""

    required: tuple[str, ...] = ()
    coverage: dict[tuple[str, str], float] = {}
    changed: dict[tuple[str, str], float] = {}
    quarantine: tuple[Quarantine, ...] = ()
    baseline: tuple[Baseline, ...] = ()
    relaxed: tuple[str, ...] = ()


def policy(configs: Mapping[str, Config]) -> Policy:
    """The policy that the configurations of all projects (by path) make together."""
    return Policy(
        required=tuple(dict.fromkeys(gate for config in configs.values() for gate in config.required_gates)),
        coverage=_percents(configs, lambda settings: settings.coverage),
        changed=_percents(configs, lambda settings: settings.changed_coverage),
        quarantine=tuple(entry for config in configs.values() for entry in config.quarantine),
        baseline=tuple(entry for config in configs.values() for entry in config.baseline),
    )


def _percents(configs: Mapping[str, Config], key: Callable[[GateConfig], float | None]) -> dict[tuple[str, str], float]:
    return {
        (project, gate): percent
        for project, config in configs.items()
        for gate, settings in config.gates.items()
        if (percent := key(settings)) is not None
    }


def from_base(base: Policy, change: Policy) -> Policy:
    """What holds for a change: whichever of the two is stricter, each point for itself."""
    relaxed = [f"gate {gate} no longer required" for gate in base.required if gate not in change.required]
    coverage = _stricter(base.coverage, change.coverage, "coverage", relaxed)
    changed = _stricter(base.changed, change.changed, "changed-coverage", relaxed)
    kept = []
    for entry in change.quarantine:
        old = next((one for one in base.quarantine if one.test == entry.test), None)
        if old is None:
            relaxed.append(f"{entry.test} put into quarantine")
            continue
        if old.expires < entry.expires:
            relaxed.append(f"quarantine of {entry.test} extended from {old.expires} to {entry.expires}")
        kept.append(old if old.expires < entry.expires else entry)
    known = []
    for finding in change.baseline:
        before = next((one for one in base.baseline if (one.rule, one.file) == (finding.rule, finding.file)), None)
        if before is None:
            relaxed.append(f"{finding.rule} in {finding.file} put into the baseline")
            continue
        if before.expires < finding.expires:
            relaxed.append(f"baseline of {finding.rule} in {finding.file} extended to {finding.expires}")
        known.append(before if before.expires < finding.expires else finding)
    return Policy(
        required=tuple(dict.fromkeys((*base.required, *change.required))),
        coverage=coverage,
        changed=changed,
        quarantine=tuple(kept),
        baseline=tuple(known),
        relaxed=tuple(relaxed),
    )


def _stricter(
    base: Mapping[tuple[str, str], float], change: Mapping[tuple[str, str], float], what: str, relaxed: list[str]
) -> dict[tuple[str, str], float]:
    """The higher of two thresholds each; what would sink is added to `relaxed`."""
    held = dict(change)
    for (project, gate), percent in base.items():
        wished = change.get((project, gate), 0.0)
        if wished < percent:
            place = gate if project == "." else f"{project}, {gate}"
            relaxed.append(f"{what} of {place} from {percent:g} % to {wished:g} %")
            held[project, gate] = percent
    return held


def quarantined(policy: Policy, test: str, today: dt.date) -> bool:
    return any(_covers(entry, test) and today <= entry.expires for entry in policy.quarantine)


def baselined(policy: Policy, finding: FindingFact, today: dt.date) -> bool:
    """Somebody owns up to the finding, and the day until which has not passed."""
    return any(
        entry.rule == finding.rule and matches(finding.file, entry.file) and today <= entry.expires
        for entry in policy.baseline
    )


def _covers(entry: Quarantine, test: str) -> bool:
    return test == entry.test or test.startswith((f"{entry.test}[", f"{entry.test}::"))
