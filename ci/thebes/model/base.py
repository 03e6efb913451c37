"""What all values have in common, the gates, and the version of every file format."""

import msgspec

FORMAT = 1

GATES = ("unit", "contract", "security", "database", "integration", "performance", "quality")
DEFAULT_GATE = "unit"
WAVES = {
    "unit": 1,
    "contract": 2,
    "security": 2,
    "database": 2,
    "quality": 2,
    "integration": 3,
    "performance": 4,
}


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all values: immutable, named fields only, unknown keys refused when decoded."""
