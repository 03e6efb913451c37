"""`thebes services up|status|down|env`: servers for work by hand, without a run."""

import json
import shlex
from collections.abc import Mapping, Sequence

import click

from thebes.config import Config
from thebes.config.values import service_version
from thebes.errors import Exit, InputError, hint
from thebes.plan.variants import variants
from thebes.services import Service, ServiceError, services_of
from thebes.services.lasting import Lasting

from .text import clean, say
from .workspace import Workspace

NAMES = click.argument("names", nargs=-1, metavar="[NAME[=VERSION]]…")


@click.group(
    "services",
    epilog="Example: thebes services up postgres=16 redis && eval $(thebes services env)",
)
def command() -> None:
    """Real servers for tests run by hand; `thebes run` starts its own.

    Without NAME: all that the gates name in pyproject.toml.
    """


@command.command("up", epilog="Example: thebes services up postgres=16 redis")
@NAMES
def up(names: Sequence[str]) -> None:
    """Start servers, wait until they answer and leave them running until `down`."""
    workspace = Workspace()
    lasting = _lasting(workspace)
    for name, version in _wanted(names, lasting.services) or _configured(workspace.config):
        try:
            server = lasting.up(name, version, lambda text: say(f"thebes: {clean(text)}"))
        except ServiceError as error:
            for line in error.log.splitlines():
                say(f"  {clean(line)}")
            raise
        say(f"thebes: {clean(str(server))} at {server.host}:{server.port}")


@command.command("status", epilog="Example: thebes services status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without passwords.")
def status(as_json: bool) -> int:  # noqa: FBT001
    """What runs for this project, and whether it answers. Exit code 1 if something does not."""
    states = _lasting().status()
    if as_json:
        shown = [
            {"name": one.server.name, "version": one.server.version, "source": one.server.source,
             "where": one.server.where, "host": one.server.host, "port": one.server.port, "problem": one.problem}
            for one in states
        ]  # fmt: skip
        click.echo(json.dumps(shown))
    elif not states:
        say("thebes: nothing runs here; thebes services up starts it")
    else:
        for one in states:
            say(f"{one.server} at {one.server.host}:{one.server.port}: {clean(one.problem) or 'answers'}")
    return Exit.FAIL if any(one.problem for one in states) else Exit.PASS


@command.command("down", epilog="Example: thebes services down")
@NAMES
def down(names: Sequence[str]) -> None:
    """Stop this project's servers and remove all that they wrote. Nothing there to stop is fine."""
    lasting = _lasting()
    known = {name for name, _ in _wanted(names, lasting.services)}
    for server in lasting.down(known):
        say(f"thebes: {clean(str(server))} stopped")


@command.command("env", epilog="Example: eval $(thebes services env)")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def env(as_json: bool) -> None:  # noqa: FBT001
    """Print the variables through which tests find the servers, for a shell to take over."""
    variables = _lasting().environment()
    if not variables:
        raise InputError("nothing runs here; thebes services up starts it")
    if as_json:
        click.echo(json.dumps(variables))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")


def _lasting(workspace: Workspace | None = None) -> Lasting:
    workspace = workspace or Workspace()
    folder = workspace.own_folder() / "services"
    return Lasting(workspace.root, folder, services_of(workspace.config), workspace.environment)


def _wanted(names: Sequence[str], known: Mapping[str, Service]) -> list[tuple[str, str]]:
    """Services and versions as written: "postgres=16"."""
    found = []
    for text in names:
        name, _, version = text.partition("=")
        if name not in known:
            raise InputError(f"{text}: no service {name!r}; {hint(name, known)}")
        found.append((name, service_version(version, text) if version else ""))
    return found


def _configured(config: Config) -> list[tuple[str, str]]:
    """What the gates name; of several versions the first, as only one can have the variable."""
    found: dict[str, str] = {}
    for gate in config.gates.values():
        for name, version in variants(("3",), gate)[0].services.items():
            found[name] = found.get(name) or version
    if not found:
        raise InputError("no service named, here or by a gate in pyproject.toml; as in: thebes services up postgres")
    return list(found.items())
