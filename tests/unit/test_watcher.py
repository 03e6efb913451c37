"""What the watcher tells of a test that nothing ends."""

import json
import os
from pathlib import Path

import pytest

from thebes.plugin.thebes_plugin.record import Record, beyond
from thebes.run.flame import Flames
from thebes.run.ledger import Ledger
from thebes.run.watcher import Limits, Watcher


def test_a_long_test_without_a_limit_is_noted_once(tmp_path: Path) -> None:
    record = Record(str(tmp_path / "record.jsonl"))
    record.put("collected", file="test_a.py", ids=["test_slow", "test_limited"], own=None)
    record.put("start", id="test_a.py::test_slow", at=1.0, limit=0.0, worker="gw0")
    record.put("start", id="test_a.py::test_limited", at=1.0, limit=3600.0, worker="gw1")
    ticks: list[None] = []
    watcher = Watcher(
        record,
        tmp_path,
        Ledger(tmp_path / "record.jsonl"),
        Limits(),
        lambda: ticks.append(None),
        Flames((), tmp_path),
        long=0.0,
    )
    watcher.started(os.getpid())
    for _ in range(3):
        watcher.ticked()
    record.close()
    notes = [json.loads(line) for line in (tmp_path / "record.jsonl").read_bytes().splitlines()[3:]]
    text = "test_a.py::test_slow ran for more than 0 s"
    assert notes == [{"kind": "note", "code": "no-limit", "text": text}]
    assert len(ticks) == 3


@pytest.mark.parametrize(
    ("number", "told"), [((512 << 20) + 1, "512 MiB and 1 KiB"), (600 << 20, "600 MiB"), (2 << 30, "2.00 GiB")]
)
def test_what_is_over_a_limit_reads_as_more(number: int, told: str) -> None:
    assert beyond(number, 512 << 20) == told
