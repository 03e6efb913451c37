"""Memory of a shard's processes, from outside: samples for the record, and who is over a limit."""

import time
from collections.abc import Iterable, Mapping

from thebes.plugin.thebes_plugin.record import Record, amount, beyond

from .ledger import Running
from .processes import tree_memory, usage

QUICK = 0.05  # seconds between two looks, where memory is limited
SAMPLED, SAMPLES = 1.0, 500  # a sample each second, later each 500th part of the time


class Memory:
    """`worker`: bytes for a worker and all that it started; `task`: for all workers together. None: no limit."""

    def __init__(self, record: Record, worker: int | None, task: int | None) -> None:
        self.limited = bool(worker or task)
        self._record = record
        self._worker = worker
        self._task = task
        self._began = self._sampled = time.monotonic()
        self._at_start: dict[str, tuple[Running, int]] = {}

    def sample(self, processes: Mapping[str, int], now: float) -> None:
        """Write down what the processes (by worker) use, unless that was done a moment ago."""
        if now - self._sampled < max(SAMPLED, (now - self._began) / SAMPLES):
            return
        self._sampled = now
        for worker, pid in processes.items():
            if used := usage(pid):
                self._record.put("sample", at=time.time(), worker=worker, memory=used.memory, cpu=used.cpu)

    def over(self, processes: Mapping[str, int], doing: Iterable[Running]) -> list[tuple[Running, str]]:
        """What is to be ended, with the reason: each worker over its limit; or, where all are over theirs together,
        the largest."""
        used = {worker: tree_memory(pid) for worker, pid in processes.items()}
        by_worker = {running.worker: running for running in doing if running.worker in used}
        for worker, running in by_worker.items():
            known = self._at_start.get(worker)
            if known is None or known[0] is not running:
                self._at_start[worker] = (running, used[worker])
        found = [
            (running, f"used {beyond(used[worker], self._worker)}, limit {amount(self._worker)}")
            for worker, running in by_worker.items()
            if self._worker and used[worker] > self._worker
        ]
        total = sum(used.values())
        if not found and by_worker and self._task and total > self._task:
            largest = max(by_worker, key=used.__getitem__)
            share = f"{amount(used[largest])} of {beyond(total, self._task)}"
            found = [(by_worker[largest], f"used {share}, limit for all workers {amount(self._task)}")]
        return [(running, f"{text}; {self._before(running)} before it") for running, text in found]

    def _before(self, running: Running) -> str:
        return amount(self._at_start[running.worker][1])
