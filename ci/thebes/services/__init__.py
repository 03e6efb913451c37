"""Real servers for the tests: found or started, handed over by environment variables, ended whatever happens."""

from .model import Server, Service, ServiceError, Source, environment_of, variable
from .serve import Served, served
from .settings import services_of

__all__ = [
    "Served",
    "Server",
    "Service",
    "ServiceError",
    "Source",
    "environment_of",
    "served",
    "services_of",
    "variable",
]
