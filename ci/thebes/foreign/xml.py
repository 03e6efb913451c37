"""Feeds untrusted XML to expat: no DOCTYPE, no entities, bounded names, attributes, depth and text."""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar
from xml.parsers import expat

from thebes.errors import FormatError

T = TypeVar("T")

CHUNK = 256 * 1024
TOKEN = 8 << 20  # bytes of one tag with its attributes; text comes in pieces and is not bounded by this
DEPTH = 200
TEXT = 64 * 1024

_CONTROLS = bytes(code for code in range(32) if code not in {9, 10, 13})
_PRINTABLE = bytes.maketrans(_CONTROLS, b"?" * len(_CONTROLS))
_REFERENCE = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,8})|(\d{1,8}));")
_WIDE = (b"\xff\xfe", b"\xfe\xff")
REFERENCE_LENGTH = 12


class Text:
    """Collects text of any length; keeps the beginning and the end."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._head = ""

    def add(self, part: str) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > 2 * TEXT:
            whole = "".join(self._parts)
            if not self._head:
                self._head = whole[: TEXT // 4]
            self._parts = [whole[-TEXT:]]
            self._size = TEXT

    def take(self) -> str:
        """The text so far; the collection starts anew."""
        if not self._parts:
            return ""
        whole, head = "".join(self._parts), self._head
        self._parts, self._size, self._head = [], 0, ""
        if head:
            return f"{head}\n… a part left out …\n{whole[-(TEXT - TEXT // 4) :]}"
        return (
            whole if len(whole) <= TEXT else f"{whole[: TEXT // 4]}\n… a part left out …\n{whole[-TEXT + TEXT // 4 :]}"
        )


class Handlers:
    """What a reader does with elements. `depth` counts the open ones."""

    def start(self, name: str, attributes: dict[str, str]) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, text: str) -> None: ...


def read(
    stream: BinaryIO, source: str, handlers: Handlers, ready: Callable[[], list[T]], *, doctype: bool = False
) -> Iterator[T]:
    """Yield what `ready` has after each part of `stream`. FormatError comes after everything that is intact.

    `doctype`: one that only names a file, which is never read, is let through; some formats always have it.
    """
    parser = _parser(source, handlers, doctype=doctype)
    problem: FormatError | None = None
    fed = 0
    try:
        for part in _parts(stream):
            parser.Parse(part, False)  # noqa: FBT003  (positional only)
            fed += len(part)
            if fed - parser.CurrentByteIndex > TOKEN:
                problem = FormatError(
                    f"{source}: line {parser.CurrentLineNumber}: a tag of more than {TOKEN >> 20} MiB"
                )
                break
            yield from ready()
        else:
            parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError as error:
        problem = FormatError(f"{source}: line {error.lineno}: {expat.ErrorString(error.code)}")
    except (LookupError, ValueError) as error:  # an encoding that nobody knows, or one that expat can't do
        problem = FormatError(f"{source}: {error}")
    except FormatError as error:
        problem = error
    yield from ready()
    if problem:
        raise problem


def _parser(source: str, handlers: Handlers, *, doctype: bool) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 64 * 1024

    def refuse(what: str) -> None:
        raise FormatError(f"{source}: line {parser.CurrentLineNumber}: {what}")

    def start_doctype(_name: str, _system: str | None, _public: str | None, internal: bool) -> None:  # noqa: FBT001
        if internal or not doctype:
            refuse("a DOCTYPE, which no report needs, is refused")

    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH:
            refuse(f"elements more than {DEPTH} deep")
        handlers.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        handlers.end(name)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = handlers.text
    parser.StartDoctypeDeclHandler = start_doctype
    # Left to itself, expat drops an entity that it does not know: text would be missing, and nobody would know.
    parser.SkippedEntityHandler = lambda name, _: refuse(f"the entity {name!r} is not defined")
    return parser


def _parts(stream: BinaryIO) -> Iterator[bytes]:
    """The stream in parts, with characters that XML forbids made visible: test output is full of them."""
    first = stream.read(CHUNK)
    if first.startswith(_WIDE):
        while first:
            yield first
            first = stream.read(CHUNK)
        return
    rest = b""
    while first:
        part = rest + first.translate(_PRINTABLE)
        cut = part.rfind(b"&", max(0, len(part) - REFERENCE_LENGTH))
        first = stream.read(CHUNK)
        part, rest = (part[:cut], part[cut:]) if cut >= 0 and first else (part, b"")
        yield _REFERENCE.sub(_visible, part) if b"&#" in part else part


def _visible(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) if match[1] else int(match[2])
    allowed = code in {9, 10, 13} or 32 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return match[0] if allowed else b"?"
