"""The variants of a gate: each Python with each combination of service versions is a suite of its own. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from thebes.config import GateConfig


class Variant(NamedTuple):
    """A Python, and version by service; an empty version takes whatever there is."""

    python: str
    services: dict[str, str]

    @property
    def slug(self) -> str:
        """As in "py3.12-postgres16"; a service without a version is not worth a name."""
        return "-".join(
            [f"py{self.python}", *(f"{name}{version}" for name, version in self.services.items() if version)]
        )


def variants(pythons: Sequence[str], gate: GateConfig) -> list[Variant]:
    """Every suite that a gate has, as configured: the Pythons' order, then the versions'."""
    return [Variant(python, dict(services)) for python in pythons for services in _combinations(gate.services)]


def _combinations(wanted: Sequence[str] | Mapping[str, Sequence[str]]) -> Iterable[Iterable[tuple[str, str]]]:
    by_name = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted, ("",))
    return [list(zip(by_name, versions, strict=True)) for versions in product(*by_name.values())]
