"""The record: one JSON object a line, lines written whole and at once, so that what was known survives any death.

The lines' fields are those of `thebes.model`; this side writes them by hand because it may import only pytest, and
because two lines for each test must cost next to nothing.
"""

import json
import os
from json.encoder import encode_basestring_ascii
from typing import Any

RECORD_FAILED = 74  # EX_IOERR: the exit code of a pytest that could not write its record
TEXT_LIMIT = 64 * 1024


class RecordError(Exception):
    """The record can't be written; from then on nothing more is."""


def quoted(text: str) -> str:
    """`text` as a JSON string in ASCII. Lone surrogates, which no reader accepts, are spelt out."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return encode_basestring_ascii(text)


def bounded(text: str, limit: int = TEXT_LIMIT) -> str:
    """At most `limit` characters: the beginning and the end tell the most."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 4], text[-(limit - limit // 4) :]
    return f"{head}\n… {len(text) - limit} characters left out …\n{tail}"


def amount(number: int) -> str:
    """Bytes as people read them."""
    return f"{number / (1 << 30):.2f} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.0f} MiB"


def beyond(number: int, limit: int) -> str:
    """Bytes that are more than `limit`, so that they read as more."""
    told = amount(number)
    return told if told != amount(limit) else f"{told} and {-(-(number - limit) >> 10)} KiB"


def current_test() -> str:
    """The test that this process is at, as pytest itself tells; empty: none."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]


class Record:
    """Appends to a record. Several processes may: a line is never in two writes."""

    def __init__(self, path: str) -> None:
        self._deferred = ""
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, line: str) -> None:
        """Write one line of ASCII JSON, given with its line feed."""
        if self._descriptor is None:
            return
        data = (self._deferred + line).encode("ascii")
        self._deferred = ""
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self.close()
            raise RecordError(error.strerror) from None
        if written != len(data):
            self.close()
            raise RecordError(f"only {written} of {len(data)} bytes fitted")

    def defer(self, line: str) -> None:
        """Have a line written together with the next, which is about to come: a call of the kernel costs more than
        all else."""
        self._deferred += line

    def put(self, kind: str, **fields: Any) -> None:
        """Write a line of any kind, where speed does not matter."""
        line = json.dumps(
            {"kind": kind, **{name: _clean(value) for name, value in fields.items()}}, separators=(",", ":")
        )
        self.write(line + "\n")

    def flush(self) -> None:
        if self._deferred:
            self.write("")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _clean(value: Any) -> Any:
    """Spell out lone surrogates in any text inside `value`."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
