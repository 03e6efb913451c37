"""A memory layer for agents: one interface, three back ends."""

from .model import Conflict, Memory, PoolExhausted, Stats, Store, StoreError, StoreFull, StoreUnavailable
from .move import move
from .open import open_store

__all__ = [
    "Conflict",
    "Memory",
    "PoolExhausted",
    "Stats",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "move",
    "open_store",
]
