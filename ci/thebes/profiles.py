"""Profiles: named sets of defaults for options of `thebes run`. What ships, and what a project makes of it."""

from collections.abc import Iterator, Mapping

import msgspec

from .config import Profile
from .errors import InputError, hint

# docs/profiles.md tells what each is for; a project's own of the same name takes its place.
PROFILES = {
    "fast": Profile(speed=("fast",)),
    "unit": Profile(gate=("unit",)),
    "integration": Profile(gate=("integration",)),
    "ci": Profile(default_test_limit="30s"),
    "full": Profile(coverage=True, measure_memory=True, leaks="report"),
    "debug": Profile(
        shards=1,
        workers="0",
        maxfail=1,
        task_limit="none",
        test_limit="none",
        memory_limit="none",
        foreground=True,
        args=("-s",),
    ),
    "profile": Profile(shards=1, jobs=1, times=True, flame=True),
    "slow": Profile(speed=("slow",)),
    "failed": Profile(failed=True),
    "collect": Profile(collect=True),
}


def find(name: str, own: Mapping[str, Profile]) -> Profile:
    """The profile of that name; `own` are the project's."""
    known = {**PROFILES, **own}
    if name not in known:
        raise InputError(f"--profile: no profile {name!r}; {hint(name, known)}")
    return known[name]


def options(profile: Profile) -> dict[str, object]:
    """What it says, by option as in "task-limit"; without its pytest arguments."""
    said = {field.encode_name: getattr(profile, field.name) for field in msgspec.structs.fields(profile)}
    return {name: value for name, value in said.items() if value is not None and value != () and name != "args"}


def words(profile: Profile) -> list[str]:
    """What would have to be typed instead of its name."""
    return [*_typed(profile), *(("--", *profile.args) if profile.args else ())]


def _typed(profile: Profile) -> Iterator[str]:
    for name, value in options(profile).items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, tuple):
            for one in value:
                yield from (f"--{name}", str(one))
        elif value is not False:
            yield from (f"--{name}", str(value))
