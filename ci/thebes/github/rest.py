"""GitHub's REST API, as far as it is needed: JSON over the standard library, bounded, errors in one line."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from thebes.errors import EvidenceError

TIMEOUT = 30
LIMIT = 16 << 20
PAGE = 100


class Rest:
    """The API at the address, and with the token, that a job has in its environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        names = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")
        if missing := [name for name in names if not environment.get(name)]:
            raise EvidenceError(f"GitHub's API: {', '.join(missing)} not set")
        self._api, repository, self._token = (environment[name] for name in names)
        self.repository = f"/repos/{repository}"
        if not self._api.startswith(("https://", "http://")):
            raise EvidenceError(f"GitHub's API: GITHUB_API_URL is no address: {self._api}")

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._ask(method, path, None if body is None else json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        """What was answered. EvidenceError: nothing, an error, or no JSON."""
        request = urllib.request.Request(  # noqa: S310  (only the two schemes above)
            self._api + path,
            data=body,
            method=method,
            headers={"Authorization": f"Bearer {self._token}", "Accept": "application/vnd.github+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                return json.loads(answer.read(LIMIT))
        except (urllib.error.URLError, OSError, ValueError, RecursionError) as error:
            raise EvidenceError(f"GitHub's API: {method} {path}: {error}") from None
