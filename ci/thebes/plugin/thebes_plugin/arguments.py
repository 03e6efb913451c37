"""What the arguments of pytest mean for emptying files."""

from pathlib import Path

import pytest


def named_files(config: pytest.Config) -> frozenset[Path]:
    """Files in which the arguments name single tests (`test_a.py::test_one`).

    pytest looks for those names in the file, so it can't be emptied: every shard collects it and keeps its own.
    """
    folder = config.invocation_params.dir
    return frozenset(
        (folder / str(argument).partition("::")[0]).resolve() for argument in config.args if "::" in argument
    )
