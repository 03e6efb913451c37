"""The suite of benchmarks/torture.py, with all its causes and fewer tests that pass: each bad test is named with the
right cause, and costs no other."""

from collections import Counter
from pathlib import Path

from torture import make, thebes


def test_each_bad_test_is_named_with_its_cause_and_costs_no_other(tmp_path: Path) -> None:
    causes = make(tmp_path, files=30)
    assert Counter(cause.partition(" ")[0] for cause in causes.values()) == {
        "crash": 9,
        "memory": 1,
        "time": 10,
        "leak": 10,
    }
    outcomes, told, _ = thebes(tmp_path, limit=2.0, give_up=600.0)
    assert told == causes
    assert Counter(outcomes[test] for test in outcomes.keys() - causes.keys()) == {"passed": 270}
