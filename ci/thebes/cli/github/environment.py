"""`thebes github python`, `environment` and `install`."""

import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from thebes.cli.text import say
from thebes.config import load
from thebes.errors import EvidenceError, InputError
from thebes.github import environment as environments
from thebes.github.runner import set_outputs, without_command_files
from thebes.interpreter import probe

from . import options, variables

LIMIT = 64 << 20  # bytes of a lock file


@click.command("python")
@options.pythons
def python(pythons: tuple[str, ...]) -> None:
    """Tell the first Python that is planned for: planning itself happens under it."""
    here = Path.cwd()
    wanted = environments.pythons(
        " ".join(pythons), load(here).python, _text(here / ".python-version"), _pyproject(here)
    )
    set_outputs(variables(), {"python": wanted[0]})
    click.echo(wanted[0])


@click.command("environment")
@options.install
@click.option("--cache-bust", envvar="THEBES_CACHE_BUST", default="", help="Any text; another one, another key.")
def environment(install: str, cache_bust: str) -> None:
    """Tell how the environment is made; its folder and cache key become outputs."""
    here = Path.cwd()
    made = _recipe(here, install)
    contents = {name: _bytes(here / name) for name in made.files}
    python = _python()
    machine = (python, _version(python), platform.platform(), platform.machine())
    key = environments.key(made, contents, machine, cache_bust, dt.datetime.now(dt.UTC).date())
    set_outputs(variables(), {"key": key, "path": str(here / environments.FOLDER)})
    click.echo(f"{made.tool or 'the given command'}: {', '.join(made.files) or 'no file says what to install'}; {key}")


@click.command("install")
@options.install
def install(install: str) -> None:
    """Make `.venv` and install what the tests need. What a cache brought is kept, if it works."""
    here = Path.cwd()
    made = _recipe(here, install)
    folder = here / environments.FOLDER
    python = _python()
    if not _works(folder, python):
        shutil.rmtree(folder, ignore_errors=True)
        _run([python, "-m", "venv", str(folder)], here, dict(os.environ))
    own = {
        **without_command_files(os.environ),
        "VIRTUAL_ENV": str(folder),
        "POETRY_VIRTUALENVS_IN_PROJECT": "1",
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    for command in made.commands:
        _run(_found(command, own), here, own)
    if probe(str(folder / "bin" / "python"), "the environment") is None:
        raise InputError(f"{folder}: has no pytest after {' '.join(made.commands[-1])}; name another with `install`")
    say(f"thebes: {folder} is ready")


def _found(command: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """The command, with the tool that it needs installed where it is not at hand."""
    if shutil.which(command[0], path=environment["PATH"]):
        return list(command)
    kit = Path(environment.get("THEBES_KIT", "/nowhere"), "requirements", f"{command[0]}.txt")
    if not kit.is_file():
        raise InputError(f"{command[0]}: not on PATH, but the lock file is its; install it, or name a command")
    tools = Path(environment.get("RUNNER_TEMP", "/tmp"), f"thebes-{command[0]}")  # noqa: S108  (of this job alone)
    _run([sys.executable, "-m", "venv", str(tools)], kit.parent, environment)
    pip = [str(tools / "bin" / "pip"), "install", "-q", "--no-deps", "--require-hashes"]  # the file names all
    _run([*pip, "-r", str(kit)], kit.parent, environment)
    return [str(tools / "bin" / command[0]), *command[1:]]


def _python() -> str:
    """The Python at hand: what setup-python put on PATH."""
    return shutil.which("python") or shutil.which("python3") or sys.executable


def _works(folder: Path, python: str) -> bool:
    """An environment from the cache, whole and of the Python at hand."""
    try:
        return _version(str(folder / "bin" / "python")) == _version(python)
    except EvidenceError:
        return False


def _version(python: str) -> str:
    try:
        done = subprocess.run(
            [python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{python}: can't be run: {error}") from None
    return done.stdout.strip()


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    say(f"thebes: {' '.join(command)}")
    done = subprocess.run(command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise EvidenceError(f"{command[0]}: exit code {done.returncode}; the tests' environment could not be made")


def _recipe(here: Path, install: str) -> environments.Recipe:
    names = [path.relative_to(here).as_posix() for path in (*here.glob("*"), *here.glob("requirements/*"))]
    return environments.recipe(names, _pyproject(here), install)


def _pyproject(here: Path) -> Mapping[str, object]:
    return environments.parse(_text(here / "pyproject.toml"))


def _text(path: Path) -> str:
    return _bytes(path).decode("utf-8", "replace") if path.is_file() else ""


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > LIMIT:
        raise InputError(f"{path}: larger than {LIMIT >> 20} MiB")
    return path.read_bytes()
