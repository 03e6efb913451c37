"""Thebes: split a pytest suite over machines, merge what comes back into one verdict."""

__version__ = "0.1.0"
