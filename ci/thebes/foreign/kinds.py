"""Which of the formats a file is in, told by its content and not by its name."""

import re
from enum import StrEnum
from pathlib import Path

import msgspec

from thebes.errors import FormatError

HEAD = 64 * 1024
MOST = 256 << 20  # bytes of JSON, which is read as a whole
_ROOT = re.compile(r"<(?:\w+:)?(testsuites?|coverage)\b")
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class Kind(StrEnum):
    JUNIT = "junit"
    COBERTURA = "cobertura"
    SARIF = "sarif"
    BENCHMARKS = "benchmarks"


SUFFIXES = (".xml", ".json", ".sarif")


class _Json(msgspec.Struct):
    runs: msgspec.Raw = msgspec.Raw()
    benchmarks: msgspec.Raw = msgspec.Raw()


def kind_of(path: Path) -> Kind:
    """FormatError if it is none of them, or too large to be read."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head.decode("utf-16" if head.startswith(_WIDE) else "utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        root = _ROOT.search(text)
        return Kind.COBERTURA if root and root[1] == "coverage" else Kind.JUNIT
    if path.stat().st_size > MOST:
        raise FormatError(f"{path.name}: more than {MOST >> 20} MiB of JSON")
    try:
        found = msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"), type=_Json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path.name}: neither XML nor JSON: {error}") from None
    if bytes(found.runs):
        return Kind.SARIF
    if bytes(found.benchmarks):
        return Kind.BENCHMARKS
    raise FormatError(f"{path.name}: neither SARIF nor pytest-benchmark's JSON")
