"""Files × durations → tasks."""

from .assemble import Choice, ProjectInput, assemble

__all__ = ["Choice", "ProjectInput", "assemble"]
