"""`thebes init`."""

import difflib
import json
from pathlib import Path

import click

from thebes.codec import write_atomic
from thebes.config import parse
from thebes.errors import InputError
from thebes.github.rest import Rest
from thebes.init import Found, configuration, look, out_of_reach, protection, workflow
from thebes.init.propose import CALL, CHECK, SOURCE

from .github import variables
from .text import clean, say

WORKFLOW = Path(".github", "workflows", "gates.yml")
PYPROJECT = Path("pyproject.toml")
Change = tuple[Path, str, str]  # path, text before, text after


@click.command("init", epilog="Example: thebes init --from OWNER/thebes@COMMIT --write")
@click.option("--from", "source", metavar="OWNER/NAME@COMMIT", help="The kit's repository on GitHub, at a full commit.")
@click.option("--write", is_flag=True, help="Write what is shown.")
@click.option("--protection", "protect", is_flag=True, help="Print a ruleset that requires the one check.")
@click.option("--apply", "apply_", is_flag=True, help="With --protection: create it, by GITHUB_TOKEN.")
@click.option("--queue", is_flag=True, help="With --protection: a merge queue, too.")
def command(source: str | None, write: bool, protect: bool, apply_: bool, queue: bool) -> None:  # noqa: FBT001
    """Look at this repository, and show the workflow and the configuration that fit it, as a difference.

    What is there stays: a workflow gets the new commit, a configuration is not touched.
    """
    if protect:
        _protect(queue=queue, apply=apply_)
        return
    if apply_ or queue:
        raise InputError("--apply, --queue: only with --protection")
    if not source or not SOURCE.fullmatch(source):
        raise InputError(
            f"--from {source or ''}: expected the kit's repository at a commit, as in OWNER/thebes@{'0' * 40}"
        )
    found = look(Path.cwd())
    changes = list(_changes(Path.cwd(), source, found))
    _show(changes)
    if found.others and any(path == PYPROJECT for path, _, _ in changes):
        say(f"thebes: left out, as Thebes does not run under them: Python {', '.join(found.others)}")
    if advice := out_of_reach(source, found):
        say(f"thebes: {clean(advice)}")
    if not changes:
        say("thebes: nothing to change")
    elif write:
        _write(changes)
    else:
        say("thebes: nothing written; --write does")


def _show(changes: list[Change]) -> None:
    for path, before, after in changes:
        old = f"a/{path}" if before else "/dev/null"
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), old, f"b/{path}", lineterm=""):
            click.echo(clean(line, 1000))


def _write(changes: list[Change]) -> None:
    for path, _, after in changes:
        write_atomic(path, after.encode())
    say(f"thebes: written: {', '.join(str(path) for path, _, _ in changes)}")
    say(f"thebes: once they are merged, require the check `{CHECK}`: thebes init --protection")


def _changes(folder: Path, source: str, found: Found) -> list[Change]:
    """Files that would differ."""
    existing, pyproject = _read(folder / WORKFLOW), _read(folder / PYPROJECT)
    if existing and not CALL.search(existing):
        raise InputError(f"{WORKFLOW}: is there and calls no quality-gates.yml; rename it, or add the call by hand")
    made = configuration(found, pyproject)
    parse(made, str(PYPROJECT))  # refuses a file that was wrong before, too
    proposed = [(WORKFLOW, existing, workflow(source, existing, found)), (PYPROJECT, pyproject, made)]
    return [change for change in proposed if change[1] != change[2]]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read: {error}") from None


def _protect(*, queue: bool, apply: bool) -> None:
    ruleset = protection(queue=queue)
    if not apply:
        click.echo(json.dumps(ruleset, indent=2))
        say("thebes: with --apply it is created; or: gh api repos/OWNER/NAME/rulesets --input FILE")
        return
    environment = {"GITHUB_API_URL": "https://api.github.com", **variables()}
    environment.setdefault("GITHUB_REPOSITORY", look(Path.cwd()).repository)
    rest = Rest(environment)
    rest.send("POST", f"{rest.repository}/rulesets", ruleset)
    say(f"thebes: {environment['GITHUB_REPOSITORY']} requires the check on its default branch")
