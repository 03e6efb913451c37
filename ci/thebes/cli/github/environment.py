"""`thebes github python`, `environment` and `install`."""

import datetime as dt
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from thebes.cli.text import say
from thebes.config import load
from thebes.errors import EvidenceError, InputError
from thebes.github import environment as environments
from thebes.github.runner import set_outputs, without_command_files
from thebes.interpreter import probe

from . import options, variables
from .backend import keep, with_backend

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
    own = {
        **without_command_files(os.environ),
        "VIRTUAL_ENV": str(folder),
        "POETRY_VIRTUALENVS_IN_PROJECT": "1",
        "PDM_CHECK_UPDATE": "0",  # whether there is a newer release of the tool is asked of an index, each time
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    if not (_works(folder, python) and _renewed(made, here, own)):
        _made(made, here, python, own)
    if probe(str(folder / "bin" / "python"), "the environment") is None:
        raise InputError(f"{folder}: has no pytest after {' '.join(made.commands[-1])}; name another with `install`")
    say(f"thebes: {folder} is ready")


def _renewed(made: environments.Recipe, here: Path, own: dict[str, str]) -> bool:
    """Whether an environment from the cache has been brought to this commit and works: a cache may hold anything."""
    try:
        if not (made.again and _installed_again(made.again, here, own)):
            _filled(made, here, own)
    except EvidenceError as error:
        say(f"thebes: {error}")
        return False
    return _tried(("python", "-c", "import pytest"), here, own)


def _installed_again(again: environments.Again, here: Path, own: dict[str, str]) -> bool:
    return (
        (here / environments.BACKEND).is_dir()
        and _tried(again.project, here, with_backend(here, own))
        and _tried(again.check, here, own)
    )


def _made(made: environments.Recipe, here: Path, python: str, own: dict[str, str]) -> None:
    folder = here / environments.FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", str(folder)], here, dict(os.environ))
    _filled(made, here, own)


def _filled(made: environments.Recipe, here: Path, own: dict[str, str]) -> None:
    for command in made.commands:
        _run(_found(command, here, own), here, own)
    if made.again and not keep(made.again.build, here, own):
        say("thebes: what builds the project could not be kept; the next set-up fetches it again")


def _found(command: tuple[str, ...], here: Path, environment: Mapping[str, str]) -> list[str]:
    """The command, with the tool that it needs installed where it is not at hand: the cache keeps it."""
    if shutil.which(command[0], path=environment["PATH"]):
        return list(command)
    kit = Path(environment.get("THEBES_KIT", "/nowhere"), "requirements", f"{command[0]}.txt")
    if not kit.is_file():
        raise InputError(f"{command[0]}: not on PATH, but the lock file is its; install it, or name a command")
    tools = here / environments.KEPT / command[0]
    program = str(tools / "bin" / command[0])
    if not _tried((program, "--version"), here, environment):
        _run([sys.executable, "-m", "venv", "--clear", str(tools)], kit.parent, environment)
        pip = [str(tools / "bin" / "pip"), "install", "-q", "--no-deps", "--require-hashes"]  # the file names all
        _run([*pip, "-r", str(kit)], kit.parent, environment)
    return [program, *command[1:]]


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


def _tried(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether it works; what it prints is of no interest, as something else is done where it does not."""
    say(f"thebes: {' '.join(command)}")
    try:
        done = subprocess.run(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return False
    if done.returncode:
        say(f"thebes: exit code {done.returncode}: another way is taken")
    return not done.returncode


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
