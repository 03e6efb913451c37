"""Files × durations → tasks."""

from .assemble import Assembled, assemble, assembled
from .inputs import Choice, Past, ProjectInput, Shared
from .part import JOB_START

__all__ = ["JOB_START", "Assembled", "Choice", "Past", "ProjectInput", "Shared", "assemble", "assembled"]
