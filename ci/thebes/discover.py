"""Which test files a project has, under pytest's own rules, without importing a test module.

pytest itself collects, in the user's Python, with every file's own collection emptied by the plug-in. What that
can't serve is collected once in full, and a note says so.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .errors import InputError
from .interpreter import Interpreter, child_environment
from .model import Discovery, Options, TestFile

PLUGIN = Path(__file__).parent / "plugin" / "thebes_plugin"
# A copy that is installed in the user's environment makes way for ours: there is one version in a run.
PLUGIN_ARGUMENTS = ("-p", "no:thebes", "-p", "thebes_plugin.hooks")

NORMAL_ENDS = (0, 5)  # with every file emptied, "no tests collected" is the normal end
COLLECTED_ENDS = (0, 1, 2, 5)  # a full collection may meet files that can't be imported


def discover(
    folder: Path,
    interpreter: Interpreter,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    full: bool = False,
) -> Discovery:
    """The test files of the project in `folder`, sorted by key; `arguments` are the plain run's own.

    InputError, with pytest's own last words, where pytest can't collect or finds no file at all.
    """
    notes = []
    if full:
        exit_code, found, output = _collect(folder, interpreter, arguments, environment, full=True)
    else:
        exit_code, found, output = _collect(folder, interpreter, arguments, environment, full=False)
        if exit_code not in NORMAL_ENDS or found is None or found["errors"] or not found["files"]:
            why = _last_words(found, output)
            notes.append(f"discovery without imports was not possible ({why}); everything was collected once")
            full = True
            exit_code, found, output = _collect(folder, interpreter, arguments, environment, full=True)
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
) -> tuple[int, dict[str, Any] | None, str]:
    """Exit code of pytest, what the plug-in wrote (None: it did not come to that), what was printed."""
    with tempfile.TemporaryDirectory(prefix="thebes-") as scratch:
        result = Path(scratch, "discovery.json")
        done = subprocess.run(
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
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        found = json.loads(result.read_bytes()) if result.exists() else None
        return done.returncode, found, done.stdout.decode("utf-8", "replace")


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
