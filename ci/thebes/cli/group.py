"""A group of commands of which only the one that is called is imported, so that the others cost nothing."""

from collections.abc import Callable, Mapping

import click

from thebes.errors import hint


def lazy(commands: Mapping[str, str], load: Callable[[str], object]) -> type[click.Group]:
    """A group of `commands`, name → what `--help` says, in that order; `load` imports one."""

    class Commands(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in commands:
                return None
            command = load(cmd_name)
            assert isinstance(command, click.Command)  # noqa: S101  (for the type checker)
            return command

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            with formatter.section("Commands"):
                formatter.write_dl(list(commands.items()))

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            name = args[0] if args else ""
            if name and not name.startswith("-") and name not in commands:
                raise click.UsageError(f"no command {name!r}; {hint(name, commands)}", ctx)
            return super().resolve_command(ctx, args)

    return Commands
