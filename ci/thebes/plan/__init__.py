"""Files × durations → tasks."""

from .assemble import Assembled, assemble, assembled
from .inputs import Choice, Past, ProjectInput
from .part import JOB_START

__all__ = ["JOB_START", "Assembled", "Choice", "Past", "ProjectInput", "assemble", "assembled"]
