"""Text for terminals and logs. What comes from tests is other people's: it moves no cursor and gives no command."""

import re
import sys

UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str, limit: int = 500) -> str:
    """One line of at most about `limit` characters, in which everything is visible."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-limit // 2 :]}"
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "backslashreplace").decode(), text)


def on_terminal() -> bool:
    return sys.stderr.isatty()


def say(text: str) -> None:
    """A line of progress or of information, on standard error: standard output is for results."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def amount(count: int, what: str) -> str:
    """ "1 test", "1,204 tests"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def lasting(seconds: float) -> str:
    """ "0.42 s", "12.3 s", "4 min 05 s"."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02} s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
