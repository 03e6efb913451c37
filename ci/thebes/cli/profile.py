"""`--profile` and `--fast`: put a profile's values where click looks for an option's default."""

import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from thebes.config import Profile, load
from thebes.errors import InputError
from thebes.profiles import PROFILES, find, options, words

from .text import say

CHOSEN = "thebes.profile"  # in the context: name and profile


def _own(context: click.Context) -> dict[str, Profile]:
    """The profiles of the project at hand. A shell that completes has not changed to the folder of -C yet."""
    folder = context.find_root().params.get("folder") if context.resilient_parsing else None
    return load(Path(folder or Path.cwd())).profiles


def _choose(context: click.Context, parameter: click.Parameter, value: str | bool | None) -> None:  # noqa: FBT001
    name = parameter.name if value is True else value
    if not name or context.resilient_parsing:
        return
    profile = find(str(name), _own(context))
    before = context.meta.setdefault(CHOSEN, (name, profile))
    if before[0] != name:
        raise click.UsageError(f"--profile {before[0]} and {name}: one profile at a time", context)
    said = options(profile)
    context.default_map = {
        str(option.name): said[key] for option in context.command.params for key in said if f"--{key}" in option.opts
    }


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        own = _own(context)
    except InputError:
        own = {}
    known = {**PROFILES, **own}
    return [
        CompletionItem(name, help=shlex.join(words(profile)))
        for name, profile in known.items()
        if name.startswith(incomplete)
    ]


def chosen(context: click.Context) -> tuple[str, ...]:
    """The pytest arguments of the profile that was chosen; what it stands for is told."""
    if CHOSEN not in context.meta:
        return ()
    name, profile = context.meta[CHOSEN]
    say(f"thebes: profile {name}: {shlex.join(words(profile)) or 'no options'}")
    arguments: tuple[str, ...] = profile.args
    return arguments


option = click.option(
    "--profile",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_choose,
    shell_complete=_complete,
    help=f"Defaults for the other options: {', '.join(PROFILES)}, or the configuration's own.",
)
fast = click.option(
    "--fast", is_flag=True, is_eager=True, expose_value=False, callback=_choose, help="As --profile fast."
)
