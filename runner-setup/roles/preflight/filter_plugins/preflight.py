"""Filters that find settings that can't be meant so."""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

# What the types of argument specifications are in Python.
KINDS: dict[str, type] = {"list": list, "dict": dict}


def specified(role: str, roles_path: str) -> dict[str, dict[str, Any]]:
    """The options of a role's argument specification."""
    text = Path(roles_path, role, "meta", "argument_specs.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))


def preflight_options(role: str, roles_path: str) -> list[str]:
    """The names of a role's options."""
    return sorted(specified(role, roles_path))


def preflight_collections(roles: list[str], roles_path: str) -> dict[str, str]:
    """The options of these roles that are lists or dictionaries, and which."""
    every = (item for role in roles for item in specified(role, roles_path).items())
    return {name: option["type"] for name, option in every if option["type"] in KINDS}


def preflight_shapeless(values: Mapping[str, Any], collections: Mapping[str, str]) -> str:
    """Which of these is something else, often text. Ansible's own check would take that for a list of one, and leave
    it as it is, so that a program would go through its letters."""
    for name, value in values.items():
        if not isinstance(value, KINDS[collections[name]]):
            found = "text" if isinstance(value, str) else json.dumps(value)
            return f"{name} is {found}; expected a {collections[name]} (in YAML; after --extra-vars in JSON)"
    return ""


def preflight_nearest(name: str, known: list[str]) -> str:
    """The known name that looks most like `name`."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.0)), "")


def preflight_misspelt(names: list[str], known: list[str], roles: list[str]) -> list[str]:
    """Names that look like a setting whose role is misspelt; others are the user's own business."""
    found = []
    for name in names:
        role = name.partition("_")[0]
        if role not in roles and difflib.get_close_matches(role, roles, n=1, cutoff=0.8):
            found += [name] if difflib.get_close_matches(name, known, n=1, cutoff=0.85) else []
    return sorted(found)


def preflight_namesakes(hosts: list[str], hostvars: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Pairs of hosts whose runners would have the same names; also such that are not part of this run."""
    seen: dict[tuple[object, ...], str] = {}
    found = []
    for host in hosts:
        settings = hostvars[host]
        prefix = settings.get("runner_name_prefix", f"{host.partition('.')[0]}-")
        target = settings.get("runner_target")
        url = settings.get("runner_url", "https://github.com")
        # What depends on facts of a host that is not part of this run is no text, and can't be compared.
        if all(isinstance(value, str) for value in (url, target, prefix)):
            first = seen.setdefault((url, target, prefix), host)
            if first != host:
                found.append(f"{first} and {host} both call their runners {prefix}… at {target}")
    return found


def preflight_blocked(addresses: list[str], networks: list[str]) -> str:
    """The first of the addresses that is in one of the networks."""
    blocked = [ipaddress.ip_network(network, strict=False) for network in networks]
    inside = (a for a in addresses if any(ipaddress.ip_address(a) in network for network in blocked))
    return next(inside, "")


def is_network(text: object) -> bool:
    try:
        ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return False
    return True


def misfit(name: str, value: Any, form: Mapping[str, Any]) -> str:
    if "above" in form:
        good = form["above"] < float(value) < math.inf
        return "" if good else f"{name} is {value}; expected more than {form['above']}"
    if "least" in form:
        good = form["least"] <= float(value) < math.inf
        return "" if good else f"{name} is {value}; expected {form['least']} or more"
    if "network" in form:
        said = f"{name} has {json.dumps(str(value))}; expected addresses or networks as 169.254.0.0/16"
        return "" if is_network(value) else said
    found = "" if form.get("secret") else f" is {json.dumps(str(value))}"
    return "" if re.fullmatch(form["form"], str(value)) else f"{name}{found}; expected {form['expected']}"


def preflight_misfit(values: Mapping[str, Any], forms: list[dict[str, Any]]) -> str:
    """Which setting's value is not of its form, and what was expected; empty when all are."""
    for form in forms:
        for name in form["settings"]:
            for value in values[name] if isinstance(values[name], list) else [values[name]]:
                if said := misfit(name, value, form):
                    return said
    return ""


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {
            "preflight_options": preflight_options,
            "preflight_collections": preflight_collections,
            "preflight_shapeless": preflight_shapeless,
            "preflight_nearest": preflight_nearest,
            "preflight_misspelt": preflight_misspelt,
            "preflight_namesakes": preflight_namesakes,
            "preflight_blocked": preflight_blocked,
            "preflight_misfit": preflight_misfit,
        }
