"""The exact command that runs a test alone, from the repository's root."""

import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

# Options whose value is a word of its own: that word is no file.
_VALUED = {"-k", "-m", "-p", "-n", "-o", "-W", "-c", "-r", "--rootdir", "--dist", "--tb", "--durations", "--maxfail"}


def commands(db: sqlite3.Connection) -> dict[str, str]:
    """What stands before a node id, by suite: folder, interpreter and the project's own pytest arguments."""
    interpreters = dict(
        db.execute(
            "SELECT t.suite, max(json_extract(a.environment, '$.interpreter')) FROM task_attempt a"
            " JOIN task t ON t.id = a.task WHERE a.decides AND t.kind = 'pytest' GROUP BY 1"
        ).fetchall()
    )
    rows = db.execute(
        "SELECT s.id, s.python, coalesce(p.rootdir, '.'), coalesce(p.args, '[]') FROM suite s"
        " LEFT JOIN project p ON p.path = s.project"
    ).fetchall()
    return {suite: _command(interpreters.get(suite) or f"python{python}", *rest) for suite, python, *rest in rows}


def _command(interpreter: str, root: str, arguments: str) -> str:
    if "/" in interpreter and not interpreter.startswith("/"):
        interpreter = os.path.relpath(interpreter, root)
    words = [interpreter, "-m", "pytest", *_options(msgspec.json.decode(arguments, type=list[str]))]
    return f"{into(root)}{shlex.join(words)}"


def into(root: str) -> str:
    return f"cd {shlex.quote(root)} && " if root not in {"", "."} else ""


def _options(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments without the files and folders among them: one test is to run, not all of these too."""
    valued = False
    for argument in arguments:
        if valued or argument.startswith("-"):
            yield argument
        valued = argument in _VALUED
