"""Files × durations → tasks."""

from .assemble import JOB_START, Assembled, assemble, assembled
from .inputs import Choice, ProjectInput

__all__ = ["JOB_START", "Assembled", "Choice", "ProjectInput", "assemble", "assembled"]
