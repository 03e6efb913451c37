"""Files × durations → tasks."""

from .assemble import Assembled, Choice, ProjectInput, assemble, assembled

__all__ = ["Assembled", "Choice", "ProjectInput", "assemble", "assembled"]
