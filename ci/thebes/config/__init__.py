"""`[tool.thebes]` in pyproject.toml: parsed strictly, with defaults that make it unnecessary."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from thebes.errors import InputError

from .check import refuse_values, speed_limits
from .keys import refuse_unknown
from .tables import (
    Baseline,
    Config,
    GateConfig,
    Leaks,
    PlanConfig,
    Profile,
    Quarantine,
    Section,
    ServiceConfig,
)

__all__ = [
    "Baseline",
    "Config",
    "GateConfig",
    "Leaks",
    "PlanConfig",
    "Profile",
    "Quarantine",
    "ServiceConfig",
    "load",
    "parse",
    "speed_limits",
]

T = TypeVar("T", bound=Section)


def load(folder: Path) -> Config:
    """The configuration of a project. No file, or none of our tables, is fine."""
    path = folder / "pyproject.toml"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read: {error}") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Config:
    """The configuration in the text of a pyproject.toml. InputError names the key, what was found and expected."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer that is too long, nesting that is too deep
        raise InputError(f"{source}: not TOML: {error}") from None
    tool = document.get("tool", {})
    if not isinstance(tool, dict):
        raise InputError(f"{source}: tool: expected a table, found {tool!r}")
    table = tool.get("thebes", {})
    refuse_unknown(table, f"{source}: tool.thebes")
    for name, gate in table.get("gates", {}).items():  # apart, because msgspec does not tell the gate's name
        _convert(gate, GateConfig, f"{source}: tool.thebes.gates.{name}")
    for name, service in table.get("services", {}).items():
        _convert(service, ServiceConfig, f"{source}: tool.thebes.services.{name}")
    for name, profile in table.get("profiles", {}).items():
        _convert(profile, Profile, f"{source}: tool.thebes.profiles.{name}")
    config = _convert(table, Config, f"{source}: tool.thebes")
    refuse_values(config, f"{source}: tool.thebes")
    return config


def _convert(table: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise InputError(f"{where}{place.rstrip('`')}: {what}") from None
