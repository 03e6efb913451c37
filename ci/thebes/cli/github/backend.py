"""The project's build backend, kept with the environment so that the next set-up need not fetch it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from thebes.github.environment import BACKEND, PIP, Build

# As PEP 517 and 660 have it: a backend may need more than `requires` says, and tells it when asked.
ASK = """
import contextlib, functools, importlib, json, sys
(module, _, name), sys.path[:0] = sys.argv[1].partition(":"), sys.argv[2:]
backend = functools.reduce(getattr, name.split(".") if name else [], importlib.import_module(module))
with contextlib.redirect_stdout(sys.stderr):
    more = getattr(backend, "get_requires_for_build_editable", lambda: [])()
print(json.dumps(more))
"""


def keep(build: Build, here: Path, environment: Mapping[str, str]) -> bool:
    """Put what builds the project in `here` into the folder BACKEND. False: it can't be done, and there is none."""
    place = here / BACKEND
    try:
        _fetch(build.requires, place, environment)
        asked = ["python", "-c", ASK, build.backend, str(place), *(str(here / path) for path in build.path)]
        if more := json.loads(_run(asked, here, environment)):
            _fetch((*build.requires, *map(str, more)), place, environment)
        name = re.sub(r"[-_.]+", "_", build.name).lower()
        if any(place.glob(f"{name}-*.dist-info")):  # built by itself: pip would take that one for the one to replace
            shutil.rmtree(place)
    except (OSError, subprocess.SubprocessError, ValueError):
        shutil.rmtree(place, ignore_errors=True)  # pip may have failed before it was there
        return False
    return place.is_dir()


def with_backend(here: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """For the command that builds the project, and for no other: the tests' own packages are not looked for there."""
    place = here / BACKEND
    path = f"{place / 'bin'}{os.pathsep}{environment['PATH']}"
    return {**environment, "PYTHONPATH": str(place), "PATH": path}


def _fetch(requirements: Sequence[str], place: Path, environment: Mapping[str, str]) -> None:
    if place.exists():
        shutil.rmtree(place)
    _run([*PIP, "install", "--quiet", "--target", str(place), *requirements], place.parents[2], environment)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
