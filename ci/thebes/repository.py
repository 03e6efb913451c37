"""What git knows about the folder at hand. Everything works without git, too: then there is no commit."""

import subprocess
from pathlib import Path

from .errors import InputError


def git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, stripped; None where there is no git, no repository or no such thing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def commit(folder: Path) -> str:
    """The commit that is checked out, 40 digits; empty where there is none."""
    return git(folder, "rev-parse", "--verify", "--quiet", "HEAD") or ""


def branch(folder: Path) -> str:
    return git(folder, "rev-parse", "--abbrev-ref", "HEAD") or ""


def file_at(folder: Path, reference: str, name: str) -> str | None:
    """The text of `name` (relative to `folder`) at a commit; None if it was not there. InputError: no such commit."""
    if reference.startswith("-") or git(folder, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}") is None:
        raise InputError(f"--base {reference}: no such commit in {folder}; is the history fetched?")
    return git(folder, "show", f"{reference}:./{name}")


def changed(folder: Path, base: str) -> list[str]:
    """Files that differ between a commit and what is checked out, relative to `folder`; a renamed one under both
    names. InputError: no such commit."""
    found = None
    if not base.startswith("-"):
        found = git(folder, "diff", "-z", "--relative", "--no-renames", "--name-only", f"{base}...HEAD", "--")
    if found is None:
        raise InputError(f"--base {base}: can't be compared with what is checked out; is the history fetched?")
    return [name for name in found.split("\0") if name]


def renames(folder: Path, since: str) -> dict[str, str]:
    """Old path → new path of files below `folder` (both relative to it), between a commit and what is checked out.
    Empty where git does not have the commit, as in a shallow clone."""
    if not since or since.startswith("-"):
        return {}
    found = git(folder, "diff", "-z", "--relative", "--find-renames", "--diff-filter=R", "--name-status", since, "--")
    words = found.split("\0") if found else []
    return {words[place + 1]: words[place + 2] for place in range(0, len(words) - 2, 3)}
