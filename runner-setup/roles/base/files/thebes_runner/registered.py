"""The registration of one runner: what was noted of it, and what GitHub says.

site.yml may change the settings behind it. So it is asked after, and deleted, where it was made: elsewhere
GitHub answers 404 for it, which would be taken for "gone". The credentials may not fit there any more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from thebes_runner import github, reset
from thebes_runner.errors import GitHubError, RunnerKitError, SettingsError
from thebes_runner.settings import GitHub, Instance, Runner

PLACE = ("url", "scope", "target")
NO_ACCESS = (401, 403, 404)


def terms(settings: Runner) -> dict[str, object]:
    """All that a lasting registration is made of, as it is noted: with other terms it is made anew."""
    hub = settings.github
    place = {key: getattr(hub, key) for key in PLACE}
    labels = list(settings.labels)
    mode = {"ephemeral": settings.ephemeral, "name_prefix": settings.name_prefix}
    return {**place, **mode, "group": hub.group, "labels": labels}


def handed_over(settings: Runner, value: Mapping[str, Any]) -> dict[str, object]:
    """The terms of one that a controller made, which says where."""
    return {**terms(settings), **{key: value[key] for key in PLACE if key in value}}


def refused(error: RunnerKitError) -> bool:
    """Whether these credentials will never do, in contrast to a GitHub that is down."""
    if isinstance(error, GitHubError):
        return error.status in NO_ACCESS and error.retry_after is None  # else it is a limit of requests
    return isinstance(error, SettingsError)


class Registered:
    """Looks at the supervisor's `state`, and empties it of a registration that has ended."""

    def __init__(self, settings: Runner, instance: Instance, state: dict[str, Any]) -> None:
        self.settings = settings
        self.instance = instance
        self.state = state
        self.client = github.Client(settings.github)

    # --- what was noted ----------------------------------------------------------------------

    @property
    def name(self) -> str:
        return str(self.state.get("runner_name") or "")

    @property
    def known(self) -> bool:
        return bool(self.state.get("runner_id") or self.name)

    @property
    def terms(self) -> dict[str, Any]:
        """Those that it was made with; one of an older kit, which noted none, is taken to have today's."""
        return {**terms(self.settings), **(self.state.get("terms") or {})}

    @property
    def outdated(self) -> bool:
        return self.terms != terms(self.settings)

    @property
    def hub(self) -> GitHub:
        """Where it is. The App's installation there is another one, and looked up."""
        place = {key: self.terms[key] for key in PLACE}
        return dataclasses.replace(self.settings.github, **place, installation_id="")

    @property
    def moved(self) -> bool:
        """Whether the settings name another place now."""
        return any(self.terms[key] != getattr(self.settings.github, key) for key in PLACE)

    def noted(self) -> dict[str, object]:
        """For a controller, which has to delete it."""
        place = {key: self.terms[key] for key in PLACE} if self.moved else {}
        return {"runner_id": self.state.get("runner_id"), "name": self.name, **place}

    def left(self, reason: object) -> str:
        number = self.state.get("runner_id") or "not known"
        return f"the registration {self.name} (id {number}) is left at {self.hub.target}: {reason}"

    # --- what GitHub says --------------------------------------------------------------------

    def there(self) -> github.Client:
        """For the place where it is; with credentials that may look there, or GitHubError."""
        if not self.moved:
            return self.client
        client = github.Client(self.hub)
        client.check_access()  # else a 404 would say nothing about this runner
        return client

    def find(self) -> github.Registration | None:
        """As GitHub has it; None when it is gone."""
        if runner_id := self.state.get("runner_id"):
            return self.there().find(int(runner_id))
        # Of a lasting one, or when GitHub's answer was lost, the name alone is known.
        found = self.there().named(self.name) if self.name else None
        if found:
            self.state["runner_id"] = found.id
        return found

    def delete(self) -> bool:
        """False when GitHub says that a job runs on it."""
        if not self.state.get("runner_id"):
            self.find()
        runner_id = self.state.get("runner_id")
        if runner_id and not self.there().delete(int(runner_id)):
            return False
        self.forget()
        return True

    def forget(self) -> None:
        """It is gone, or given up."""
        reset.delete(self.instance.runner_dir / name for name in reset.PERSISTENT_FILES)
        self.state.update(runner_id=None, runner_name=None, terms=None)
