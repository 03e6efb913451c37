"""The one door between bytes and the model: versions, strict keys, clear errors, writes that are whole or not at all.

Numbers are rounded where they are made, so that equal values give equal bytes.
"""

import os
import tempfile
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from .errors import FormatError
from .model import FORMAT, Plan, RecordLine, Value, Verdict

T = TypeVar("T", bound=Value)

_encoder = msgspec.json.Encoder()
_plan = msgspec.json.Decoder(Plan)
_verdict = msgspec.json.Decoder(Verdict)
_line: msgspec.json.Decoder[RecordLine] = msgspec.json.Decoder(RecordLine)

decode_line = _line.decode  # raises one of UNDECODABLE
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # the last: brackets without end


class _Versioned(msgspec.Struct):
    schema: int


def encode(value: Value) -> bytes:
    """Compact JSON, fields in the order of the type, with a line feed."""
    return _encoder.encode(value) + b"\n"


def digest(plan: Plan) -> str:
    """32 hexadecimal digits that name the plan: BLAKE2b of its bytes without this field."""
    bare = msgspec.structs.replace(plan, digest="")
    return blake2b(encode(bare), digest_size=16).hexdigest()


def decode_plan(data: bytes, source: str) -> Plan:
    """The plan in `data`. FormatError names `source` if it is no plan, of another version, or altered."""
    plan = _decode(_plan, data, source)
    if plan.digest != digest(plan):
        raise FormatError(f"{source}: the plan was changed after it was made: its digest does not fit")
    return plan


def decode_verdict(data: bytes, source: str) -> Verdict:
    return _decode(_verdict, data, source)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes, source: str) -> T:
    try:
        found = msgspec.json.decode(data, type=_Versioned).schema
    except UNDECODABLE as error:
        raise FormatError(f"{source}: {error}") from None
    if found != FORMAT:
        raise FormatError(f"{source}: format {found}, this version reads format {FORMAT}")
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise FormatError(f"{source}: {error}") from None


def read_plan(path: Path) -> Plan:
    return decode_plan(read_bytes(path), str(path))


def read_verdict(path: Path) -> Verdict:
    return decode_verdict(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from None


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write `data`, or its parts, so that a reader finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
