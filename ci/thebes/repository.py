"""What git knows about the folder at hand. Everything works without git, too: then there is no commit."""

import codecs
import re
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


_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_DIFF = ("diff", "--unified=0", "--relative", "--find-renames", "--no-color", "--no-ext-diff", "--no-textconv")


def changed_lines(folder: Path, base: str) -> dict[str, list[tuple[int, int]]]:
    """First and last line of what differs between here and where `base` branched off, by path relative to `folder`;
    what is not committed, or not yet added, differs too. InputError: no such commit."""
    if base.startswith("-") or git(folder, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}") is None:
        raise InputError(f"--base {base}: no such commit in {folder}; is the history fetched?")
    since = git(folder, "merge-base", base, "HEAD") or base  # a shallow clone may not know where they met
    told = [*_DIFF, "--src-prefix=a/", "--dst-prefix=b/", since, "--"]
    done = subprocess.run(["git", "-C", str(folder), *told], capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"--base {base}: git diff says {done.stderr.decode('utf-8', 'replace').strip()[:200]}")
    found = _hunks(done.stdout)
    others = git(folder, "ls-files", "-z", "--others", "--exclude-standard")
    for name in filter(None, (others or "").split("\0")):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            found[name] = [(1, path.read_bytes().count(b"\n") + 1)]
    return found


def _hunks(diff: bytes) -> dict[str, list[tuple[int, int]]]:
    """From `git diff --unified=0`. The lines of a hunk are passed over by their number: they may look like anything."""
    found: dict[str, list[tuple[int, int]]] = {}
    name = ""
    skip = 0
    for line in diff.split(b"\n"):
        if skip:
            skip -= not line.startswith(b"\\")
        elif line.startswith(b"+++ "):
            name = _unquoted(line[4:])
        elif hunk := _HUNK.match(line):
            removed, first, added = (int(part) if part is not None else 1 for part in hunk.groups())
            skip = removed + added
            if added and name:
                found.setdefault(name, []).append((first, first + added - 1))
    return found


def _unquoted(text: bytes) -> str:
    """A path as git writes it, without the prefix: quoted as in C where it has to be. Empty for /dev/null."""
    text = text.removesuffix(b"\t")
    if text.startswith(b'"'):
        text = codecs.escape_decode(text[1:-1])[0]
    return text.decode("utf-8", "surrogateescape").removeprefix("b/") if text.startswith(b"b/") else ""
