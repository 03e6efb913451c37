"""A merged run and its verdict → what people and scripts read. Nothing here decides anything."""

from . import codeowners, coverage
from .annotations import annotations
from .jsonfile import as_json
from .junit import junit
from .page import html
from .summary import summary
from .terminal import one_line, terminal
from .times import time_lines

__all__ = [
    "annotations",
    "as_json",
    "codeowners",
    "coverage",
    "html",
    "junit",
    "one_line",
    "summary",
    "terminal",
    "time_lines",
]
