"""`thebes completion`."""

import click
from click.shell_completion import get_completion_class


@click.command("completion", epilog='Example: eval "$(thebes completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for a shell."""
    from . import cli  # noqa: PLC0415  (it imports us)

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click has all three)
    click.echo(kind(cli, {}, "thebes", "_THEBES_COMPLETE").source())
