"""Options that an action gives through the environment."""

import shlex

import click

from thebes.cli import options
from thebes.config.values import python, service_version
from thebes.errors import InputError, hint
from thebes.model import GATES


def _words(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())


def _gates(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    for gate in (found := _words(value)):
        if gate not in GATES:
            raise InputError(f"gates: no gate {gate!r}; {hint(gate, GATES)}")
    return found


def _pythons(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(python(word, "python") for word in _words(value))


def _arguments(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value or ""))
    except ValueError as error:
        raise InputError(f"pytest-args: {value!r}: {error}") from None


def _services(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dict[str, tuple[str, ...]]:
    """Versions by service, from words such as `postgres=16,18`."""
    found: dict[str, tuple[str, ...]] = {}
    for word in (value or "").split():
        name, _, text = word.partition("=")
        versions = tuple(version for version in text.split(",") if version)
        if not name or not versions or name in found or len(set(versions)) < len(versions):
            raise InputError(f"services: {word!r}: expected a service once, with its versions, as in postgres=16,18")
        found[name] = tuple(service_version(version, f"services: {name}") for version in versions)
    return found


def _percent(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    return value or None  # 0 asks for nothing


gates = click.option("--gates", envvar="THEBES_GATES", callback=_gates, metavar="WORDS", help="Only these gates.")
pythons = click.option(
    "--python", "pythons", envvar="THEBES_PYTHON", callback=_pythons, metavar="WORDS", help="For these Pythons."
)
services = click.option(
    "--services",
    envvar="THEBES_SERVICES",
    callback=_services,
    metavar="WORDS",
    help="Versions of services over the configured ones, as in postgres=16,18.",
)
pytest_arguments = click.option(
    "--pytest-args", "arguments", envvar="THEBES_PYTEST_ARGS", callback=_arguments, help="Further pytest arguments."
)
coverage = click.option(
    "--coverage",
    envvar="THEBES_COVERAGE",
    type=click.FloatRange(0, 100),
    callback=_percent,
    metavar="PERCENT",
    help="Least coverage of gate unit, if its configuration asks for less.",
)
install = click.option("--install", envvar="THEBES_INSTALL", default="", metavar="COMMAND", help="Installs the tests.")
plan_file = click.option(
    "--plan",
    "plan_path",
    envvar="THEBES_PLAN",
    required=True,
    type=options.path(),
    metavar="FILE",
    help="The plan, plan.json.",
)
