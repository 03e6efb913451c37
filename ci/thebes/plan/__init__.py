"""Files × durations → tasks."""

from .assemble import JOB_START, Assembled, Choice, ProjectInput, assemble, assembled

__all__ = ["JOB_START", "Assembled", "Choice", "ProjectInput", "assemble", "assembled"]
