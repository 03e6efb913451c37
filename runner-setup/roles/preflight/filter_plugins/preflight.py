"""Filters that tell unknown settings from known ones."""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml


def preflight_options(role: str, roles_path: str) -> list[str]:
    """The options that a role's argument specification names."""
    text = Path(roles_path, role, "meta", "argument_specs.yml").read_text(encoding="utf-8")
    return sorted(yaml.safe_load(text)["argument_specs"]["main"].get("options", {}))


def preflight_nearest(name: str, known: list[str]) -> str:
    """The known name that looks most like `name`."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.0)), "")


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"preflight_options": preflight_options, "preflight_nearest": preflight_nearest}
