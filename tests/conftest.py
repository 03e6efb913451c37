from pathlib import Path

import pytest

from support.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project; the real command is run on it."""
    return Project(tmp_path)
