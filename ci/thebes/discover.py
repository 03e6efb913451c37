"""Which test files a project has, under pytest's own rules, without importing a test module.

pytest itself collects, in the user's Python, with every file's own collection emptied by the plug-in. What that
can't serve is collected once in full, and a note says so.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .errors import InputError
from .interpreter import Interpreter, child_environment
from .model import Discovery, Options, TestFile
from .plugin.thebes_plugin.aftermath import place_of

PLUGIN = Path(__file__).parent / "plugin" / "thebes_plugin"
# A copy that is installed in the user's environment makes way for ours: there is one version in a run.
PLUGIN_ARGUMENTS = ("-p", "no:thebes", "-p", "thebes_plugin.hooks")

NORMAL_ENDS = (0, 5)  # with every file emptied, "no tests collected" is the normal end
COLLECTED_ENDS = (0, 1, 2, 5)  # a full collection may meet files that can't be imported
LIMIT = 900.0  # seconds; files are only listed, or imported once
DUMP = 5.0  # seconds that a pytest over the limit gets to tell where it was


def discover(
    folder: Path,
    interpreter: Interpreter,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    full: bool = False,
    limit: float = LIMIT,
) -> Discovery:
    """The test files of the project in `folder`, sorted by key; `arguments` are the plain run's own.

    InputError, with pytest's own last words, where pytest can't collect, finds no file at all or takes more than
    `limit` seconds.
    """
    notes = []

    def collect(*, imports: bool) -> tuple[int, dict[str, Any] | None, str]:
        return _collect(folder, interpreter, arguments, environment, full=imports, limit=limit)

    exit_code, found, output = collect(imports=full)
    if not full and (exit_code not in NORMAL_ENDS or found is None or found["errors"] or not found["files"]):
        why = _last_words(found, output)
        notes.append(f"discovery without imports was not possible ({why}); everything was collected once")
        full = True
        exit_code, found, output = collect(imports=True)
    if exit_code not in COLLECTED_ENDS or found is None:
        raise InputError(f"{folder}: pytest can't collect (exit {exit_code}): {_last_words(found, output)}")
    if not found["files"]:
        raise InputError(f"{folder}: pytest finds no test file")
    return _discovery(folder, interpreter, found, full=full, notes=notes)


def _collect(
    folder: Path,
    interpreter: Interpreter,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    full: bool,
    limit: float,
) -> tuple[int, dict[str, Any] | None, str]:
    """Exit code of pytest, what the plug-in wrote (None: it did not come to that), what was printed."""
    with tempfile.TemporaryDirectory(prefix="thebes-") as scratch:
        result = Path(scratch, "discovery.json")
        log = Path(scratch, "output.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    interpreter.path,
                    str(PLUGIN),
                    *PLUGIN_ARGUMENTS,
                    f"--thebes-discover={result}",
                    "--collect-only",
                    "-q",
                    *arguments,
                ],
                cwd=folder,
                env=child_environment(environment, interpreter.path)
                | {"COVERAGE_FILE": str(Path(scratch, "coverage")), "THEBES_COLLECT": "1" if full else "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ended = _wait(process, limit)
        said = log.read_bytes().decode("utf-8", "replace")
        if not ended:
            path, line = place_of(said)
            where = f"; it was at {os.path.relpath(path, folder)}:{line}" if path else ""
            raise InputError(f"{folder}: pytest did not end its collection within {limit:g} s{where}")
        return process.returncode, json.loads(result.read_bytes()) if result.exists() else None, said


def _wait(process: "subprocess.Popen[bytes]", limit: float) -> bool:
    """Did it end in time? If not, it is asked to write its stacks first, which pytest's faulthandler does. Nothing
    that it started is left behind."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DUMP)
        return False
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def _last_words(found: dict[str, Any] | None, output: str) -> str:
    if found and found["errors"]:
        return str(found["errors"][0]).strip().splitlines()[-1]
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if line.startswith(("ERROR", "E  ", "INTERNALERROR>")) or ": error: " in line
    ]  # the last is how argparse says what it does not know
    return (telling or lines or ["it said nothing"])[-1].strip()[:500]


def _discovery(
    folder: Path, interpreter: Interpreter, found: dict[str, Any], *, full: bool, notes: list[str]
) -> Discovery:
    if found["named"] and not full:
        notes.append(f"the arguments name single tests in {len(found['named'])} files, which every shard collects")
    strays = sorted(file for file in found["tests"] if not full and not found["named"])
    if strays:
        notes.append(f"{len(strays)} collectors yield tests without a file of their own, such as {strays[0]}")
    return Discovery(
        rootdir=found["rootdir"],
        inipath=found["inipath"],
        python=interpreter.python,
        pytest=found["pytest"],
        plugins=found["plugins"],
        options=msgspec.convert(found["options"], Options),
        files=tuple(
            TestFile(key=file["key"], path=Path(os.path.relpath(file["path"], folder)).as_posix())
            for file in found["files"]
            if not full or file["key"] in found["tests"] or found["errors"] or not found["tests"]
        ),
        collected=full,
        notes=tuple(notes),
        tests={file: tuple(ids) for file, ids in found["tests"].items()} if full else {},
    )
