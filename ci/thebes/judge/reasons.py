"""Every reason that a verdict can have: its code, what it makes of the verdict, and its headline.

`{n}` is the number of subjects, `{s}` a plural s. docs/reasons.md tells what to do about each.
"""

from typing import NamedTuple

from thebes.model import VerdictKind

FAIL, INVALID, PASS = VerdictKind.FAIL, VerdictKind.INVALID, VerdictKind.PASS


class Meaning(NamedTuple):
    verdict: VerdictKind
    headline: str


REASONS = {
    # What the tests and checks say.
    "test-failed": Meaning(FAIL, "{n} test{s} failed"),
    "test-errored": Meaning(FAIL, "{n} test{s} had an error in set-up or teardown"),
    "test-crashed": Meaning(FAIL, "{n} test{s} crashed"),
    "collection-failed": Meaning(FAIL, "{n} file{s} could not be collected"),
    "finding-error": Meaning(FAIL, "{n} finding{s} of severity error"),
    "check-failed": Meaning(FAIL, "{n} check{s} failed"),
    "test-cancelled": Meaning(FAIL, "{n} test{s} cancelled after a failure"),
    "file-cancelled": Meaning(FAIL, "{n} file{s} cancelled after a failure"),
    "check-findings": Meaning(FAIL, "{n} finding{s} of checks"),
    "task-cancelled": Meaning(FAIL, "{n} task{s} not started after a failure"),
    "coverage-low": Meaning(FAIL, "coverage is below its threshold"),
    "changed-coverage-low": Meaning(FAIL, "coverage of the changed lines is below its threshold"),
    "exit-after-finish": Meaning(FAIL, "the process failed after pytest had finished"),
    # What is missing, doubled or in doubt.
    "test-missing": Meaning(INVALID, "{n} test{s} never ran"),
    "test-interrupted": Meaning(INVALID, "{n} test{s} did not come to an end"),
    "test-repeated": Meaning(INVALID, "{n} test{s} ran a wrong number of times"),
    "test-unplanned": Meaning(INVALID, "{n} test{s} ran where nothing selected them"),
    "test-unowned": Meaning(INVALID, "{n} test{s} without exactly one shard"),
    "file-not-collected": Meaning(INVALID, "{n} planned file{s} never collected"),
    "file-repeated": Meaning(INVALID, "{n} file{s} ran in more than one shard"),
    "ids-unstable": Meaning(INVALID, "{n} file{s} whose tests differ between processes"),
    "selection-differs": Meaning(INVALID, "the record and pytest disagree about what was selected"),
    "positional-deselection": Meaning(INVALID, "tests are deselected by position"),
    "plan-missing": Meaning(INVALID, "no plan was made"),
    "jobs-disagree": Meaning(INVALID, "{n} job{s} ended in another way than the records tell"),
    "attempts-unknown": Meaning(INVALID, "which attempts were started can't be told"),
    "record-missing": Meaning(INVALID, "{n} task{s} left no record"),
    "record-cut": Meaning(INVALID, "{n} record{s} broken off"),
    "record-broken": Meaning(INVALID, "{n} damaged record{s}"),
    "record-unreadable": Meaning(INVALID, "{n} record{s} can't be read"),
    "record-foreign": Meaning(INVALID, "{n} record{s} of another plan or commit"),
    "record-conflict": Meaning(INVALID, "{n} task{s} with contradicting records"),
    "attempt-without-record": Meaning(INVALID, "{n} newer attempt{s} left no record"),
    "task-stopped": Meaning(INVALID, "{n} task{s} stopped before the end"),
    "pytest-died": Meaning(INVALID, "{n} pytest process{es} died"),
    "pytest-interrupted": Meaning(INVALID, "{n} pytest session{s} interrupted"),
    "pytest-internal-error": Meaning(INVALID, "{n} internal error{s} of pytest"),
    "pytest-usage-error": Meaning(INVALID, "{n} pytest session{s} refused {their} arguments or configuration"),
    "internal-error": Meaning(INVALID, "{n} internal error{s} of pytest"),
    "exit-unexplained": Meaning(INVALID, "an exit code that the record does not explain"),
    "shard-refused": Meaning(INVALID, "{n} shard{s} would not be what the plan says"),
    "not-started": Meaning(INVALID, "{n} command{s} could not be started"),
    "check-broken": Meaning(INVALID, "{n} check{s} did not come to an end of {their} own"),
    "results-broken": Meaning(INVALID, "{n} file{s} of results can't be trusted"),
    "service-missing": Meaning(INVALID, "{n} service{s} that nothing here can serve"),
    "service-failed": Meaning(INVALID, "{n} service{s} did not start"),
    "service-full": Meaning(INVALID, "{n} service{s} had no space left on {their} disk"),
    "service-died": Meaning(INVALID, "{n} service{s} died while tests ran"),
    "check-died": Meaning(INVALID, "{n} check{s} ended by a signal"),
    "nothing-selected": Meaning(INVALID, "nothing was selected"),
    "all-skipped": Meaning(INVALID, "every test was skipped"),
    "coverage-missing": Meaning(INVALID, "coverage can't be told"),
    "gate-required": Meaning(INVALID, "a required gate is absent"),
    # Worth knowing; never changes a verdict.
    "worker-crashed": Meaning(PASS, "{n} worker{s} died"),
    "regression-unjudged": Meaning(PASS, "no regression judgement"),
    "no-limit": Meaning(PASS, "{n} test{s} ran for long, and no limit is set"),
    "service-used": Meaning(PASS, "services"),
    "test-flaky": Meaning(PASS, "{n} flaky test{s}"),
    "test-leaked": Meaning(PASS, "{n} test{s} left something behind"),
    "findings-known": Meaning(PASS, "{n} finding{s} in the baseline"),
    "baseline-expired": Meaning(PASS, "{n} baseline{s} expired"),
    "quarantined": Meaning(PASS, "{n} failing test{s} in quarantine"),
    "quarantine-expired": Meaning(PASS, "{n} quarantine{s} expired"),
    "coverage-lost": Meaning(PASS, "something was executed and not measured"),
    "changed-coverage-open": Meaning(PASS, "coverage of changed lines was not judged: there is no base"),
    "policy-relaxed": Meaning(PASS, "policy that this change relaxes; the base's still holds"),
    "gate-skipped": Meaning(PASS, "skipped"),
    "tests-narrowed": Meaning(PASS, "only a part of the tests was asked for"),
    "collected-only": Meaning(PASS, "tests were collected, none was run"),
}


def headline(code: str, count: int) -> str:
    one = count == 1
    plural = {
        "n": f"{count:,}",
        "s": "" if one else "s",
        "es": "" if one else "es",
        "their": "its" if one else "their",
    }
    return REASONS[code].headline.format(**plural)
