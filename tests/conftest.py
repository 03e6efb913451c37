from pathlib import Path

import pytest
from hypothesis import settings

from support.project import Project

settings.register_profile("any machine", deadline=None)  # a loaded machine is no reason to fail
settings.load_profile("any machine")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project; the real command is run on it."""
    return Project(tmp_path)
