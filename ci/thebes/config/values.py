"""Values that stand as text, in the configuration and behind options: durations, sizes, numbers, versions."""

import re

from thebes.errors import InputError

DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(MiB|GiB|MB|GB)")
SIZES = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}


def seconds(text: str, where: str) -> float:
    """ "90s", "2m", "1h" as seconds. InputError names `where`."""
    match = DURATION.fullmatch(text.strip())
    if not match or not (value := float(match[1]) * UNITS[match[2]]):
        raise InputError(f'{where}: {text!r} is not a duration; expected a number with its unit, as in "90s" or "2m"')
    return value


def limit(text: str, where: str) -> float | None:
    """As `seconds`, or None for "none". InputError names `where`."""
    return None if text.strip() == "none" else seconds(text, where)


def size_limit(text: str, where: str) -> int | None:
    """As `size`, or None for "none". InputError names `where`."""
    return None if text.strip() == "none" else size(text, where)


def size(text: str, where: str) -> int:
    """ "512MiB", "1.5GB" in bytes. InputError names `where`."""
    match = SIZE.fullmatch(text.strip())
    if not match or not (value := int(float(match[1]) * SIZES[match[2]])):
        raise InputError(f'{where}: {text!r} is not a size; expected a number with its unit, as in "512MiB" or "2GB"')
    return value


def workers(text: str, where: str) -> str:
    """ "auto" or a number from 0. InputError names `where`."""
    if text != "auto" and not re.fullmatch(r"[0-9]{1,4}", text):
        raise InputError(f'{where}: {text!r} is neither "auto" nor a number')
    return text


def service_version(text: str, where: str) -> str:
    """A version as in "16" or "7.4". InputError names `where`."""
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{0,40}", text):
        raise InputError(f'{where}: {text!r} is not a version such as "16"')
    return text


def python(text: str, where: str) -> str:
    """A version as in "3.12". InputError names `where`."""
    if not re.fullmatch(r"3\.[0-9]{1,2}", text):
        raise InputError(f'{where}: {text!r} is not a version such as "3.12"')
    return text
