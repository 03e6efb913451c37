"""From the configuration to services. Pure."""

from thebes.config import Config
from thebes.config.check import SHIPPED
from thebes.config.values import seconds

from .model import Service, Source


def services_of(config: Config) -> dict[str, Service]:
    """Every service that a gate may name: those that ship, and those that are configured."""
    found = {name: Service(name=name, kind=name) for name in SHIPPED}
    for name, settings in config.services.items():
        found[name] = Service(
            name=name,
            kind=name if name in SHIPPED else "compose",
            sources=tuple(Source(source) for source in settings.sources)
            or ((Source.URL, Source.DOCKER) if name not in SHIPPED else tuple(Source)),
            variables=settings.variables,
            limit=seconds(settings.limit, f"tool.thebes.services.{name}.limit"),
            compose=settings.compose,
            service=settings.service,
            port=settings.port or 0,
            url=settings.url or "",
            image=settings.image or "",
        )
    return found
