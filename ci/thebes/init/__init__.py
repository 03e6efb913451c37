"""`thebes init`: what a repository tells about itself, and the files that follow from it. Nothing is written here."""

from .look import Found, look
from .propose import configuration, out_of_reach, protection, workflow

__all__ = ["Found", "configuration", "look", "out_of_reach", "protection", "workflow"]
