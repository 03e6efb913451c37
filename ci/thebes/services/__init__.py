"""Real servers for the tests: found or started, handed over by environment variables, ended whatever happens."""

from .look import look
from .model import Server, Service, ServiceError, Source, environment_of, variable
from .serve import Served, served
from .settings import services_of
from .source import Context, label

__all__ = [
    "Context",
    "Served",
    "Server",
    "Service",
    "ServiceError",
    "Source",
    "environment_of",
    "label",
    "look",
    "served",
    "services_of",
    "variable",
]
