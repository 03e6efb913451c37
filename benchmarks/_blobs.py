"""The records of a run as Playwright's blob reports: the same tests, as its own `--reporter=blob` writes them.

The events are those of its version 1.65 (format 2), with the four steps around every test's body that each of its tests
has.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

AT = 1_795_255_000_000
STEPS = ("Before Hooks", "After Hooks")


def write(records: Iterable[Path], folder: Path) -> None:
    """A blob report in `folder` for each record."""
    records = list(records)
    folder.mkdir(parents=True)
    for number, record in enumerate(records, 1):
        lines = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
        events = _events(lines, number, len(records))
        with zipfile.ZipFile(folder / f"report-{number}.zip", "w", zipfile.ZIP_DEFLATED) as blob:
            blob.writestr("report.jsonl", "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in events))


def _events(lines: list[dict[str, Any]], number: int, of: int) -> Iterator[dict[str, Any]]:
    shard = {"current": number, "total": of}
    yield _event("onBlobReportMetadata", version=2, userAgent="", shard=shard, pathSeparator="/")
    config = {"metadata": {"actualWorkers": 1}, "rootDir": "/r", "shard": shard, "version": "1.65.1", "workers": 1}
    unset: dict[str, Any] = {
        "failOnFlakyTests": False,
        "globalSetup": None,
        "globalTeardown": None,
        "tags": [],
        "webServer": None,
    }
    yield _event("onConfigure", config={**config, "globalTimeout": 0, "maxFailures": 0, **unset})
    yield _event("onProject", project=_project([line for line in lines if line["kind"] == "collected"]))
    yield {"method": "onBegin"}
    phases = {line["id"]: line for line in lines if line["kind"] == "phase"}
    for position, line in enumerate(line for line in lines if line["kind"] == "end"):
        yield from _test(line["id"], line, phases.get(line["id"]), f"{number}-{position}")
    yield _event("onEnd", result={"status": "failed", "startTime": AT, "duration": 8000})


def _event(method: str, **params: object) -> dict[str, Any]:
    return {"method": method, "params": params}


def _project(collected: list[dict[str, Any]]) -> dict[str, Any]:
    suites = [
        {
            "title": line["file"],
            "location": {"file": line["file"], "line": 0, "column": 0},
            "entries": [
                {
                    "testId": f"{line['file']}::{name}",
                    "title": name,
                    "location": {"file": line["file"], "line": 7, "column": 1},
                    "retries": 0,
                    "tags": [],
                    "repeatEachIndex": 0,
                    "annotations": [],
                }
                for name in line["ids"]
            ],
        }
        for line in collected
    ]
    empty: dict[str, Any] = {"testIgnore": [], "testMatch": [], "grep": [], "grepInvert": [], "use": {}}
    named = {"name": "", "outputDir": "", "testDir": "", "snapshotDir": "", "timeout": 30000}
    return {"metadata": {"actualWorkers": 1}, **named, "repeatEach": 1, "retries": 0, **empty, "suites": suites}


def _test(test: str, end: dict[str, Any], phase: dict[str, Any] | None, result: str) -> Iterator[dict[str, Any]]:
    begun = {"id": result, "retry": 0, "workerIndex": 0, "parallelIndex": 0, "startTime": AT}
    yield _event("onTestBegin", testId=test, result=begun)
    errors: list[dict[str, Any]] = []
    for step in STEPS:
        key = f"{result}-{step}"
        told = {"id": key, "title": step, "category": "hook", "startTime": AT}
        yield _event("onStepBegin", testId=test, resultId=result, step=told)
        yield _event("onStepEnd", testId=test, resultId=result, step={"id": key, "duration": 1})
        if phase and not errors:
            (output,) = phase["output"].values()
            yield _event("onStdIO", testId=test, resultId=result, type="stdout", data=output, isBase64=False)
            place = {"file": f"/r/{phase['path']}", "column": 1, "line": phase["line"]}
            errors = [{"message": phase["message"], "stack": phase["text"], "location": place}]
    status = "failed" if phase else "passed"
    about = {"testId": test, "expectedStatus": "passed", "timeout": 30000, "annotations": []}
    duration = sum(end["durations"]) * 1000
    yield _event(
        "onTestEnd", test=about, result={"id": result, "duration": duration, "status": status, "errors": errors}
    )
