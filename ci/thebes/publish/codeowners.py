"""CODEOWNERS as GitHub reads it: the last line that fits a path names its owners."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PLACES = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
LIMIT = 3 << 20  # GitHub ignores larger files

Rule = tuple[re.Pattern[str], str]


def find(root: Path) -> str:
    """The text of the CODEOWNERS file that counts in the repository `root`; empty if there is none."""
    for place in PLACES:
        path = root / place
        if path.is_file() and path.stat().st_size <= LIMIT:
            return path.read_text("utf-8", "replace")
    return ""


def parse(text: str) -> list[Rule]:
    """Patterns with their owners, the last first. A line without owners takes what it fits out of ownership."""
    rules = []
    for line in text.splitlines():
        words = line.partition(" #")[0].replace("\\ ", "\0").split()
        if words and not words[0].startswith(("#", "!", "[", "\\#")):
            rules.append((_pattern(words[0].replace("\0", " ")), " ".join(words[1:])))
    return rules[::-1]


def owner(rules: Sequence[Rule], path: str) -> str:
    """The owners of a path relative to the repository, as they are written; empty if nobody owns it."""
    return next((names for pattern, names in rules if pattern.match(path)), "")


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    """gitignore's rules without negation and character classes, which GitHub doesn't know here either."""
    anchored = "/" in glob.rstrip("/")
    body = glob.strip("/")
    parts = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?)", body)
    shapes = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(shapes.get(part, re.escape(part)) for part in parts)
    # `docs/*` owns the files of that folder only; any other pattern owns what lies below it too.
    end = "/" if glob.endswith("/") else r"\Z" if body.endswith("/*") else r"(?:/|\Z)"
    return re.compile(("" if anchored else "(?:.*/)?") + regex + end, re.DOTALL)
