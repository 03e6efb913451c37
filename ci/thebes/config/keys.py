"""Refuses keys that nobody would read."""

from collections.abc import Sequence
from typing import Any

import msgspec

from thebes.errors import InputError, hint
from thebes.model import GATES

from .tables import Baseline, Config, GateConfig, PlanConfig, Profile, Quarantine, Section, ServiceConfig


def refuse_unknown(table: Any, where: str) -> None:
    _known_keys(table, Config, where)
    if not isinstance(table, dict):
        return
    gates = table.get("gates", {})
    _known_names(gates, GATES, f"{where}.gates")
    for name, gate in gates.items() if isinstance(gates, dict) else ():
        _known_keys(gate, GateConfig, f"{where}.gates.{name}")
    services = table.get("services", {})
    if not isinstance(services, dict):
        raise InputError(f"{where}.services: expected a table, found {services!r}")
    for name, service in services.items():
        _known_keys(service, ServiceConfig, f"{where}.services.{name}")
    profiles = table.get("profiles", {})
    if not isinstance(profiles, dict):
        raise InputError(f"{where}.profiles: expected a table, found {profiles!r}")
    for name, profile in profiles.items():
        _known_keys(profile, Profile, f"{where}.profiles.{name}")
    _known_keys(table.get("plan", {}), PlanConfig, f"{where}.plan")
    for name, kind in (("quarantine", Quarantine), ("baseline", Baseline)):
        entries = table.get(name, [])
        for entry in entries if isinstance(entries, list) else ():
            _known_keys(entry, kind, f"{where}.{name}")


def _known_keys(table: Any, kind: type[Section], where: str) -> None:
    _known_names(table, [field.encode_name for field in msgspec.structs.fields(kind)], where)


def _known_names(table: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table, found {table!r}")
    for name in table:
        known_name(name, known, where)


def known_name(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        raise InputError(f"{where}: unknown key {name!r}; {hint(name, known)}")
