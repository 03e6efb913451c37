"""The one exception family: each message is one line that says what was found and what to do."""

from __future__ import annotations


class RunnerKitError(Exception):
    """Base of every expected failure; `cli` turns it into one line of text and exit code 1."""


class SettingsError(RunnerKitError):
    """A settings file is missing, unreadable or says something impossible."""


class HostError(RunnerKitError):
    """The machine is not in a state in which a job may start (disk, Docker, stray processes)."""


class GitHubError(RunnerKitError):
    """A request to the GitHub API failed.

    `status` is the HTTP status, or None when no answer came. `retry_after` is the number of
    seconds that the server asked to wait, or None.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
