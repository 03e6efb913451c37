"""The variants of a gate: each Python with each combination of service versions is a suite of its own. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
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


def variants(
    pythons: Sequence[str], gate: GateConfig, versions: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[Variant]:
    """Every suite that a gate has, as configured: the Pythons' order, then the versions'.

    `versions`: by service, those that somebody asked for; they win over the configured ones.
    """
    wanted = gate.services if isinstance(gate.services, Mapping) else dict.fromkeys(gate.services, ("",))
    by_name = {name: versions.get(name, configured) for name, configured in wanted.items()}
    return [Variant(python, dict(services)) for python in pythons for services in _combinations(by_name)]


def _combinations(by_name: Mapping[str, Sequence[str]]) -> Iterable[Iterable[tuple[str, str]]]:
    return [list(zip(by_name, versions, strict=True)) for versions in product(*by_name.values())]
