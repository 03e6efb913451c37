"""Checks: how known tools are asked for findings, and how these are read. docs/checks.md has the table."""

from .adapt import Adapted, adapt
from .findings import failing
from .presets import PRESETS

__all__ = ["PRESETS", "Adapted", "adapt", "failing"]
