"""Gates that a change does not concern. A skip counts only because the plan says so, with its reason."""

from collections.abc import Iterable, Mapping, Sequence

from thebes.config import Config
from thebes.model import GATES, Skip
from thebes.plan.groups import matches

from .event import Event


def skips(
    event: Event,
    changed: Sequence[str] | None,
    configs: Iterable[Mapping[str, Config]],
    *,
    drafts: bool,
    docs: Sequence[str],
) -> tuple[Skip, ...]:
    """What is left out. `changed`: files that differ from the base, None where there is no base.

    `configs`: by project, of the change and of its base. A filter counts only where all of them have it, so that no
    change can free itself of a gate. `docs`: globs of files that concern no gate.
    """
    if event.draft and not drafts:
        return _all("draft pull request")
    if changed is None:
        return ()
    if docs and changed and all(_any(file, docs) for file in changed):
        return _all("only documents changed")
    known = list(configs)
    return tuple(
        Skip(gate=gate, reason="no changed file concerns it")
        for gate in GATES
        if known and all(_unconcerned(gate, one, changed) for one in known)
    )


def _all(reason: str) -> tuple[Skip, ...]:
    return tuple(Skip(gate=gate, reason=reason) for gate in GATES)


def _unconcerned(gate: str, configs: Mapping[str, Config], changed: Sequence[str]) -> bool:
    """Every project that has the gate limits it to files of which none changed."""
    filters = [(path, config.gates[gate].changes if gate in config.gates else ()) for path, config in configs.items()]
    return all(globs and not any(_any(_inside(file, path), globs) for file in changed) for path, globs in filters)


def _inside(file: str, project: str) -> str:
    """The file as its project calls it; files outside of a project are nothing its globs could mean."""
    return file if project == "." else file.removeprefix(f"{project}/") if file.startswith(f"{project}/") else ""


def _any(file: str, globs: Sequence[str]) -> bool:
    return bool(file) and any(matches(file, glob) for glob in globs)
