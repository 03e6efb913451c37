"""Run + policy → verdict. Pure; INVALID beats FAIL beats PASS, and whatever is not proved is INVALID."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from thebes.model import GATES, GateVerdict, Reason, Verdict, VerdictKind

from .facts import CoverageFact, FindingFact, ProblemFact, RunFacts, SuiteFacts, read_facts
from .policy import Policy, baselined, from_base, policy, quarantined
from .reasons import REASONS, headline

__all__ = ["Policy", "RunFacts", "from_base", "judge", "judge_task", "policy", "read_facts"]

SUBJECTS = 1000  # named in one reason; the rest is counted
OUTCOME_CODES = {
    "failed": "test-failed",
    "error": "test-errored",
    "crashed": "test-crashed",
    "missing": "test-missing",
    "interrupted": "test-interrupted",
    "cancelled": "test-cancelled",
}
WEIGHT = {VerdictKind.PASS: 0, VerdictKind.FAIL: 1, VerdictKind.INVALID: 2}


def judge(facts: RunFacts, held: Policy, today: dt.date) -> Verdict:
    """The verdict on a run: for each of the seven gates, and over all."""
    if facts.narrowed or facts.collect:  # thresholds are for all tests
        held = msgspec.structs.replace(held, coverage={}, changed={})
    gates = {gate: _gate(gate, facts, held, today) for gate in GATES}
    reasons = [*_homeless(facts), *_project_coverage(facts), *_partial(facts)]
    if not facts.suites and not facts.skips:
        reasons.append(_reason("nothing-selected", []))
    kinds = [gate.verdict for gate in gates.values() if gate.verdict] + [reason.verdict for reason in reasons]
    return Verdict(
        plan=facts.plan,
        commit=facts.commit,
        verdict=_heaviest(kinds),
        gates=gates,
        reasons=tuple(reasons),
        notices=tuple(_notices(held, today)),
    )


def judge_task(facts: RunFacts, held: Policy, today: dt.date) -> VerdictKind:
    """The verdict on one task alone, so that a job's colour and the final verdict agree.

    What only the whole suite can tell (nothing selected, coverage) is left to `judge`.
    """
    reasons = [
        *_test_reasons(facts.suites, held, today),
        *_problem_reasons(facts.problems),
        *_finding_reasons(facts.problems, facts.findings, held, today),
    ]
    return _heaviest([reason.verdict for reason in reasons])


def _gate(gate: str, facts: RunFacts, held: Policy, today: dt.date) -> GateVerdict:
    suites = [suite for suite in facts.suites if suite.gate == gate]
    problems = [problem for problem in facts.problems if problem.gate == gate]
    if not suites:
        skipped = [reason for name, reason in facts.skips if name == gate]
        if skipped:
            return GateVerdict(verdict=None, reasons=(_reason("gate-skipped", skipped),))
        if gate in held.required:
            return GateVerdict(verdict=VerdictKind.INVALID, absent=True, reasons=(_reason("gate-required", [gate]),))
        return GateVerdict(verdict=None, absent=True)
    reasons = [
        *_test_reasons(suites, held, today),
        *_problem_reasons(problems),
        *_finding_reasons(problems, facts.findings, held, today),
        *_empty_reasons(
            suites,
            explained=any(
                REASONS[each.code].verdict == VerdictKind.INVALID or each.code == "file-cancelled" for each in problems
            ),
            collect=facts.collect,
        ),
        *_coverage_reasons([fact for fact in facts.coverage if fact.gate == gate], held),
        *([_reason("regression-unjudged", [])] if gate == "performance" else []),
        *_changed_reasons([fact for fact in facts.coverage if fact.gate == gate], held),
    ]
    counts = Counter[str]()
    for suite in suites:
        counts.update(suite.counts)
        counts["flaky"] += len(suite.flaky)
        counts["collected"] += suite.collected if facts.collect else 0
    measured = [fact for fact in facts.coverage if fact.gate == gate]
    return GateVerdict(
        verdict=_heaviest([reason.verdict for reason in reasons]),
        reasons=tuple(sorted(reasons, key=lambda reason: -WEIGHT[reason.verdict])),
        counts={name: count for name, count in sorted(counts.items()) if count},
        coverage=min((fact.percent for fact in measured if fact.percent is not None), default=None),
        changed_coverage=min(
            (fact.changed_percent for fact in measured if fact.changed_percent is not None), default=None
        ),
    )


def _test_reasons(suites: Sequence[SuiteFacts], held: Policy, today: dt.date) -> Iterable[Reason]:
    spared: list[str] = []
    for outcome, code in OUTCOME_CODES.items():
        named = [(suite, test) for suite in suites for test in suite.named.get(outcome, ())]
        if outcome in {"failed", "error", "crashed"}:
            spared += [_in_suite(suite, test, suites) for suite, test in named if quarantined(held, test, today)]
            named = [(suite, test) for suite, test in named if not quarantined(held, test, today)]
        if named:
            yield _reason(code, [_in_suite(suite, test, suites) for suite, test in named])
    if spared:
        yield _reason("quarantined", spared)
    if flaky := [_in_suite(suite, test, suites) for suite in suites for test in suite.flaky]:
        yield _reason("test-flaky", flaky)
    if leaks := [f"{_in_suite(suite, test, suites)}: {text}" for suite in suites for test, text in suite.leaks]:
        yield _reason("test-leaked", leaks)


def _in_suite(suite: SuiteFacts, test: str, suites: Sequence[SuiteFacts]) -> str:
    """A test's name; with its suite where the gate has several."""
    return test if len(suites) == 1 else f"{test} ({suite.id})"


def _problem_reasons(problems: Sequence[ProblemFact]) -> Iterable[Reason]:
    by_code: dict[str, list[str]] = {}
    for problem in problems:
        if problem.code == "check-findings":
            continue  # told by its findings
        by_code.setdefault(problem.code, []).append(_sentence(problem))
    for code in REASONS:
        if code in by_code:
            yield _reason(code, list(dict.fromkeys(by_code[code])))


def _finding_reasons(
    problems: Sequence[ProblemFact], findings: Sequence[FindingFact], held: Policy, today: dt.date
) -> Iterable[Reason]:
    """What checks found: known findings are spared, all others fail. A check whose findings are lost fails, too."""
    tasks = {problem.task: problem for problem in problems if problem.code == "check-findings"}
    mine = [finding for finding in findings if finding.task in tasks]
    known = [finding for finding in mine if baselined(held, finding, today)]
    lost = [_sentence(problem) for task, problem in tasks.items() if all(one.task != task for one in mine)]
    if new := [_place(finding) for finding in mine if finding not in known] + lost:
        yield _reason("check-findings", new)
    if known:
        yield _reason("findings-known", [_place(finding) for finding in known])


def _place(finding: FindingFact) -> str:
    place = f"{finding.file}:{finding.line}: " if finding.file else ""
    return f"{place}{finding.rule}: {finding.text[:300]}"


def _sentence(problem: ProblemFact) -> str:
    return f"{problem.subject}: {problem.text}" if problem.text else problem.subject


def _homeless(facts: RunFacts) -> Iterable[Reason]:
    """Problems that belong to no gate: records that are nobody's."""
    return _problem_reasons([problem for problem in facts.problems if problem.gate is None])


def _partial(facts: RunFacts) -> Iterable[Reason]:
    """What a verdict on less than everything must not keep to itself."""
    if facts.narrowed:
        yield _reason("tests-narrowed", facts.narrowed)
    if facts.collect:
        yield _reason("collected-only", [])


def _empty_reasons(suites: Sequence[SuiteFacts], *, explained: bool, collect: bool) -> Iterable[Reason]:
    """Suites without a test that ran; `explained`: something else already says why nothing could be selected;
    `collect`: none was to run, and those count that were collected."""
    ran = {suite.id for suite in suites if suite.counts or (collect and suite.collected)}
    empty = [suite for suite in suites if suite.id not in ran and (suite.tasks or not suite.checks) and not explained]
    if empty:
        yield _reason("nothing-selected", [_why_empty(suite) for suite in empty])
    if skipped := [suite.id for suite in suites if suite.counts and set(suite.counts) == {"skipped"}]:
        yield _reason("all-skipped", skipped)


def _why_empty(suite: SuiteFacts) -> str:
    if not suite.tasks:
        return f"{suite.id}: no file belongs to it"
    if suite.deselected:
        return f"{suite.id}: every test ({suite.deselected:,}) was deselected, by -m, -k or a hook"
    if suite.skipped_files:
        return f"{suite.id}: {suite.skipped_files} files skipped themselves"
    return f"{suite.id}: its files have no test"


def _coverage_reasons(facts: Sequence[CoverageFact], held: Policy) -> Iterable[Reason]:
    wanted = {
        project: percent for (project, gate), percent in held.coverage.items() if any(f.gate == gate for f in facts)
    }
    missing = [f"{fact.project}: {fact.text}" for fact in facts if fact.percent is None and fact.project in wanted]
    if missing:
        yield _reason("coverage-missing", missing)
    low = [
        f"{_of(fact)}{fact.percent:.2f} %, at least {wanted[fact.project]:g} % is asked for"
        for fact in facts
        if fact.percent is not None and fact.percent < wanted.get(fact.project, 0.0)
    ]
    if low:
        yield _reason("coverage-low", low)


def _changed_reasons(facts: Sequence[CoverageFact], held: Policy) -> Iterable[Reason]:
    """The same for the lines that the change touches. Where it touches none there is nothing to hold."""
    low: list[str] = []
    open_: list[str] = []
    for fact in facts:
        wanted = held.changed.get((fact.project, fact.gate))
        if wanted is None:
            continue
        if fact.percent is None:
            if (fact.project, fact.gate) not in held.coverage:  # or it has been said already
                yield _reason("coverage-missing", [f"{fact.project}: {fact.text}"])
        elif fact.changed is None:
            open_.append(f"{_of(fact)}at least {wanted:g} % is asked for; merge with --base COMMIT")
        elif fact.changed_percent is not None and fact.changed_percent < wanted:
            share = f"{fact.changed_executed:,} of {fact.changed:,} changed statements"
            low.append(f"{_of(fact)}{fact.changed_percent:.2f} %, {share}; at least {wanted:g} % is asked for")
    if low:
        yield _reason("changed-coverage-low", low)
    if open_:
        yield _reason("changed-coverage-open", open_)


def _of(fact: CoverageFact) -> str:
    """The project's name, where there may be several."""
    return "" if fact.project == "." else f"{fact.project}: "


def _project_coverage(facts: RunFacts) -> Iterable[Reason]:
    """A project's own `--cov-fail-under` or `fail_under`, held against all its suites together."""
    for fact in facts.coverage:
        wanted = facts.fail_under.get(fact.project)
        if fact.gate or wanted is None:
            continue
        if fact.percent is None:
            yield _reason("coverage-missing", [f"{fact.project}: {fact.text}"])
        elif fact.percent < wanted:
            yield _reason(
                "coverage-low", [f"{_of(fact)}{fact.percent:.2f} %, the project's fail_under is {wanted:g} %"]
            )


def _notices(held: Policy, today: dt.date) -> Iterable[Reason]:
    if held.relaxed:
        yield _reason("policy-relaxed", held.relaxed)
    expired = [f"{entry.test} ({entry.owner}, {entry.expires})" for entry in held.quarantine if entry.expires < today]
    if expired:
        yield _reason("quarantine-expired", expired)
    old = [
        f"{entry.rule} in {entry.file} ({entry.owner}, {entry.expires})"
        for entry in held.baseline
        if entry.expires < today
    ]
    if old:
        yield _reason("baseline-expired", old)


def _reason(code: str, subjects: Sequence[str]) -> Reason:
    return Reason(
        code=code,
        verdict=REASONS[code].verdict,
        text=headline(code, len(subjects)),
        subjects=tuple(subjects[:SUBJECTS]),
        more=max(0, len(subjects) - SUBJECTS),
    )


def _heaviest(kinds: Iterable[VerdictKind]) -> VerdictKind:
    return max(kinds, key=WEIGHT.__getitem__, default=VerdictKind.PASS)
