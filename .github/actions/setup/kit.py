"""Makes the command `thebes` of the commit that this action is of. Needs nothing but Python's standard library.

`kit.py name` tells folder and cache key of its environment; `kit.py install` fills the folder, unless the cache did,
and puts the command on PATH. The environment holds pinned dependencies only; Thebes itself is read where it lies.
"""

import hashlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

KIT = Path(__file__).resolve().parents[3]
REQUIREMENTS = KIT / "requirements" / "cli.txt"
MODULES = "click, coverage, jinja2, msgspec, rich"
DATABASES = ("pg8000", "redis", "sqlalchemy")
COMMAND = """#!{python}
import sys
sys.path.insert(0, {code!r})
from thebes.cli import main
main()
"""


def name() -> None:
    """Outputs `path` and `key`, and `temp`. GitHub's cache tells paths apart by itself.

    In a container, the expression `runner.temp` names a folder of the host; only the variable is right everywhere.
    """
    temp = os.environ["RUNNER_TEMP"]
    parts = (os.environ.get("THEBES_CACHE_BUST", ""), sys.executable, sys.version, platform.platform())
    with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as file:
        file.write(f"THEBES_JOB_BEGAN={time.time()}\n")  # what it takes to start a job is part of every plan
        file.write(f"THEBES_TEMP={temp}\n")
    digest = hashlib.sha256("\0".join(parts).encode() + REQUIREMENTS.read_bytes()).hexdigest()[:32]
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"path={folder()}\nkey=thebes-kit-{digest}\ntemp={temp}\n")


def install() -> None:
    """Leaves a command that works, whatever the cache brought."""
    python = folder() / "bin" / "python"
    if not works(python):
        # Without a pip of its own: that would be most of the files that the cache has to carry.
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder())], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--require-hashes", "--requirement", str(REQUIREMENTS)], check=True)
    place = Path(os.environ["RUNNER_TEMP"], "thebes-bin")
    place.mkdir(exist_ok=True)
    command = place / "thebes"
    command.write_text(COMMAND.format(python=python, code=str(KIT / "ci")), encoding="utf-8")
    command.chmod(0o755)
    with Path(os.environ["GITHUB_PATH"]).open("a", encoding="utf-8") as file:
        file.write(f"{place}\n")
    with Path(os.environ["GITHUB_ENV"]).open("a", encoding="utf-8") as file:
        file.write(f"THEBES_KIT={KIT}\n")


def works(python: Path) -> bool:
    """What only a database needs takes as long to import as all the rest; that it is there must do."""
    if not python.exists():
        return False
    test = f"import {MODULES}; from importlib.util import find_spec; assert all(map(find_spec, {DATABASES!r}))"
    return subprocess.run([str(python), "-c", test], capture_output=True, check=False).returncode == 0


def folder() -> Path:
    return Path(os.environ["RUNNER_TEMP"], "thebes-kit")


if __name__ == "__main__":
    {"name": name, "install": install}[sys.argv[1]]()
