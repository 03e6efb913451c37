"""`thebes discover`."""

import click
import msgspec

from . import options
from .text import clean, say
from .workspace import Workspace


@click.command(
    "discover",
    epilog="Example: thebes discover --json | jq -r '.projects[].files[].key'",
    context_settings={"ignore_unknown_options": False},
)
@options.interpreter
@click.option("--full", is_flag=True, help="Collect everything, importing the test modules.")
@options.as_json
@options.arguments
def command(interpreter: str | None, full: bool, as_json: bool, arguments: tuple[str, ...]) -> None:  # noqa: FBT001
    """List the test files that pytest would collect, one a line, without importing one.

    ARGUMENTS (after --) are the plain run's own.
    """
    workspace = Workspace(interpreter, arguments)
    found = {path: workspace.discovery(path, full=full) for path in workspace.configs}
    for path, discovery in found.items():
        for note in discovery.notes:
            say(f"thebes: {path}: {clean(note)}")
    if as_json:
        projects = [{"path": path, **msgspec.to_builtins(discovery)} for path, discovery in found.items()]
        click.echo(msgspec.json.encode({"schema": 1, "projects": projects}))
        return
    for path, discovery in found.items():
        for file in discovery.files:
            click.echo(clean(file.path if path == "." else f"{path}/{file.path}", 10_000))
