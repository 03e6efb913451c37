from typing import NamedTuple


class Estimate(NamedTuple):
    seconds: float
    spread: float = 0.0
