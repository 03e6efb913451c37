"""The command line. Each command lives in a module of its own and is imported when it is called."""

import errno
import sqlite3
import sys
from importlib import import_module

import click

from thebes import __version__

from .group import lazy

# In the order of `thebes --help`: the whole flow first, then its stages, then what goes with them.
COMMANDS = {
    "run": "Plan, run, merge, judge and report, all here.",
    "discover": "List the test files, without importing one.",
    "plan": "Split the suite into tasks.",
    "task": "Run one task of a plan and leave its record.",
    "merge": "Merge records into run.db, with the proof that nothing is missing.",
    "judge": "Give the verdict on a merged run.",
    "publish": "Write the reports of a judged run.",
    "history": "Past runs: show, import, export.",
    "services": "Real servers for tests: up, status, down, env.",
    "doctor": "Tell what was found here, what is missing and what would be done.",
    "init": "Show, or write, the workflow and configuration that fit this repository.",
    "github": "Steps of the workflows, in a job of GitHub Actions.",
    "completion": "Print the completion script for a shell.",
}


def _load(name: str) -> object:
    return import_module(f".{name}", __name__).command


@click.group(
    cls=lazy(COMMANDS, _load),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 fail, 2 bad input, 3 evidence missing.",
)
@click.version_option(__version__, message="thebes %(version)s")
@click.option("-C", "folder", metavar="DIR", type=click.Path(file_okay=False), help="Work in DIR instead of here.")
def cli(folder: str | None) -> None:
    """Split a pytest suite over processes or machines, and merge what comes back into one verdict.

    \b
    thebes run                     everything, in any repository with pytest tests
    thebes run --shards 4 --gate unit
    thebes doctor                  what would be done here
    """
    if folder:
        import os  # noqa: PLC0415

        try:
            os.chdir(folder)
        except OSError as error:
            raise click.UsageError(f"-C {folder}: {error.strerror}") from None


def main() -> None:
    """Entry point: every expected error is one line and an exit code, never a traceback."""
    from thebes.errors import Exit, ThebesError  # noqa: PLC0415

    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = Exit.BAD_INPUT
    except click.ClickException as error:
        code = _complain(error.format_message(), Exit.BAD_INPUT)
    except ThebesError as error:
        code = _complain(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted", Exit.EVIDENCE_MISSING)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody is left to tell
        code = Exit.EVIDENCE_MISSING
    except OSError as error:
        out_of_order = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}
        name = error.filename2 or error.filename  # the second: what a temporary file was to become
        text = f"{name}: {error.strerror}" if name else str(error)
        code = _complain(text, Exit.EVIDENCE_MISSING if out_of_order else Exit.BAD_INPUT)
    except sqlite3.OperationalError as error:  # a full disk, a lock
        code = _complain(f"run.db: {error}", Exit.EVIDENCE_MISSING)
    except sqlite3.DatabaseError as error:
        code = _complain(f"run.db is damaged: {error}; merge again", Exit.BAD_INPUT)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(text: str, code: int) -> int:
    from .text import clean  # noqa: PLC0415

    sys.stderr.write(f"thebes: {clean(text)}\n")
    return code
