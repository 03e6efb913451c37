"""The history: what a run puts in, what the planner gets out, and pytest-split's format in between."""

from pathlib import Path

import pytest

from thebes.errors import FormatError, InputError
from thebes.history.durations import read_durations, write_durations
from thebes.history.store import KEPT_RUNS, History, Stamp


def stamp(at: float) -> Stamp:
    return Stamp(at=at, commit="c0ffee", branch="main", machine="m", verdict="PASS")


def test_runs_come_back_oldest_first_and_old_ones_go(tmp_path: Path) -> None:
    with History(str(tmp_path / "deep" / "history.db")) as history:
        for number in range(KEPT_RUNS + 3):
            history.add_durations({"a.py::test": float(number), f"a.py::test_{number}": 1.0}, stamp(float(number)))
        assert len(history.stamps()) == KEPT_RUNS
        runs = history.runs(".", limit=2)
        assert [run.tests["a.py::test"] for run in runs] == [KEPT_RUNS + 1.0, KEPT_RUNS + 2.0]
        assert history.runs("other") == []


def test_durations_there_and_back(tmp_path: Path) -> None:
    durations = {"b.py::test[ü]": 0.25, "a.py::test": 1e-7}
    write_durations(tmp_path / "d.json", durations)
    assert read_durations(tmp_path / "d.json") == durations


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": -1}', '{"a": NaN}'])
def test_what_is_no_durations_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"d\.json: "):
        read_durations(path)


@pytest.mark.parametrize("url", ["postgresql://nobody:secret@127.0.0.1:1/none", "nonsense://x", "/dev/null/history.db"])
def test_a_history_that_cannot_be_opened_is_one_line_without_secrets(url: str) -> None:
    with pytest.raises(InputError) as caught:
        History(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
