"""The few calls of the GitHub REST API that a runner host needs.

The App's token is signed with the `openssl` command: it is on every Debian and Ubuntu host, so no
further package is needed, and a host's private key never enters this process.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import http.client
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from thebes_runner.errors import GitHubError, SettingsError
from thebes_runner.settings import GitHub

TIMEOUT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 3600.0  # GitHub's limits are by the hour; a proxy may say anything
PER_PAGE = 100
# GitHub allows an App's token ten minutes; one minute is left for clocks that differ.
JWT_BACKDATE_SECONDS = 60
JWT_LIFE_SECONDS = 540
# A token is not used in the last minutes of its life.
TOKEN_MARGIN_SECONDS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registration:
    """A runner as GitHub lists it."""

    id: int
    name: str
    status: str  # online or offline
    busy: bool


@contextlib.contextmanager
def understood(what: str) -> Iterator[None]:
    """Around all that reads an answer: whatever it lacks, or has in another form, is GitHub's error."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise GitHubError(f"GitHub's {what} has another form than expected: {error!r}") from None


def registration(value: Any) -> Registration:
    return Registration(
        id=int(value["id"]), name=str(value["name"]), status=str(value["status"]), busy=bool(value["busy"])
    )


def api_root(url: str) -> str:
    """The REST root of a server: github.com, *.ghe.com, or an Enterprise Server under /api/v3."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    loopback = host in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not loopback:
        raise SettingsError(f"GitHub's address is {url!r}, expected one that starts with https://")
    if host == "github.com":
        return "https://api.github.com"
    if host.endswith(".ghe.com"):
        return f"https://api.{host}"
    return f"{parts.scheme}://{parts.netloc}/api/v3"


def scope_path(github: GitHub) -> str:
    prefix = {"repository": "repos", "organization": "orgs", "enterprise": "enterprises"}
    return f"/{prefix[github.scope]}/{github.target}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@contextlib.contextmanager
def as_file(text: str) -> Iterator[int]:
    """A descriptor from which another program reads `text`, which is in no file and no process list."""
    reading, writing = os.pipe()
    try:
        with open(writing, "w", encoding="utf-8") as pipe:
            pipe.write(text)  # a key is far smaller than what a pipe holds
        yield reading
    finally:
        os.close(reading)


def sign_rs256(message: bytes, key_file: str, descriptors: tuple[int, ...] = ()) -> bytes:
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", key_file],
        input=message,
        capture_output=True,
        check=False,
        pass_fds=descriptors,
    )
    if done.returncode != 0:
        where = "runner_app_key_file" if descriptors else key_file
        raise SettingsError(f"{where} can't sign: expected the App's RSA private key in PEM")
    return done.stdout


def app_jwt(app_id: str, sign: Callable[[bytes], bytes], now: float) -> str:
    """The App's own token (RS256), valid for nine minutes."""
    claims = {
        "iat": int(now) - JWT_BACKDATE_SECONDS,
        "exp": int(now) + JWT_LIFE_SECONDS,
        "iss": app_id,
    }
    header = {"alg": "RS256", "typ": "JWT"}
    message = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{message}.{base64url(sign(message.encode()))}"


def retry_after(headers: Any, now: float) -> float | None:
    """Seconds to wait as told by Retry-After, or by an exhausted rate limit; None if not told."""
    value = headers.get("Retry-After") or ""
    if value.isdigit():
        return min(float(value), LONGEST_WAIT_SECONDS)
    reset = headers.get("X-RateLimit-Reset") or ""
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdigit():
        return min(max(0.0, float(reset) - now), LONGEST_WAIT_SECONDS)
    return None


def backoff(failures: int, first: float, longest: float, asked: float | None, jitter: float) -> float:
    """Seconds to wait after the n-th failure in a row: doubling, spread by `jitter` in [0, 1).

    What the server asked for is a lower bound, so that a fleet doesn't hammer a limit; it is spread, too.
    """
    exponential = min(longest, first * 2.0 ** min(failures - 1, 30))
    return max(exponential * (0.5 + jitter / 2), (asked or 0.0) * (1.0 + jitter / 10))


class SameServer(urllib.request.HTTPRedirectHandler):
    """The token goes along wherever a redirection leads."""

    def redirect_request(  # noqa: PLR0917  (as in the base class)
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if urllib.parse.urlsplit(newurl)[:2] != urllib.parse.urlsplit(req.full_url)[:2]:
            return None  # an error, then
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Client:
    """Calls with the host's own credentials, or with `secret`: a controller's key or token itself."""

    def __init__(self, github: GitHub, secret: str = "", clock: Callable[[], float] = time.time) -> None:
        self.github = github
        self.secret = secret
        self.root = api_root(github.url)
        self.clock = clock
        self.opener = urllib.request.build_opener(SameServer)
        self._token = ""
        self._expires = 0.0

    # --- signing in -------------------------------------------------------------------------

    def token(self) -> str:
        if self.github.auth == "token":
            return self._given_token()
        if self.github.auth == "app":
            if self.clock() > self._expires - TOKEN_MARGIN_SECONDS:
                self._token, self._expires = self._installation_token()
            return self._token
        raise SettingsError(
            "this host has no credentials (runner_auth_location is controller): run site.yml from "
            "the controller to give it a new one-time configuration"
        )

    def _given_token(self) -> str:
        text = self.secret or Path(self.github.token_file).read_text(encoding="utf-8", errors="replace")
        if not re.fullmatch(r"[!-~]+", text.strip()):  # a part of it must not get into an error's line
            where = "runner_token_file" if self.secret else self.github.token_file
            raise SettingsError(f"{where} holds no token: expected one line of ASCII text")
        return text.strip()

    @understood("token")
    def _installation_token(self) -> tuple[str, float]:
        jwt = app_jwt(self.github.app_id, self._sign, self.clock())
        try:
            installation = self.github.installation_id or self._find_installation(jwt)
            answer = self._send("POST", f"/app/installations/{installation}/access_tokens", {}, f"Bearer {jwt}")
        except GitHubError as error:
            if error.status == 404:  # of the App, which must not be taken for a runner's
                raise SettingsError(
                    f"can't sign in as the App {self.github.app_id} ({error}): check runner_app_id and "
                    "runner_app_installation_id"
                ) from None
            raise
        expires = datetime.datetime.fromisoformat(answer["expires_at"].replace("Z", "+00:00"))
        return str(answer["token"]), expires.timestamp()

    def _sign(self, message: bytes) -> bytes:
        if not self.secret:
            return sign_rs256(message, self.github.key_file)
        with as_file(self.secret) as descriptor:
            return sign_rs256(message, f"/dev/fd/{descriptor}", (descriptor,))

    @understood("list of installations")
    def _find_installation(self, jwt: str) -> str:
        owner = self.github.target.partition("/")[0].lower()
        for page in range(1, 1000):
            query = f"/app/installations?per_page={PER_PAGE}&page={page}"
            answer = self._send("GET", query, None, f"Bearer {jwt}")
            for installation in answer:
                # An enterprise's account has a slug instead.
                if str(installation["account"].get("login", "")).lower() == owner:
                    return str(installation["id"])
            if len(answer) < PER_PAGE:
                break
        raise SettingsError(
            f"the App is not installed at {owner!r}: install it there, or set runner_app_installation_id"
        )

    # --- requests ---------------------------------------------------------------------------

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer; a token that GitHub no longer accepts is renewed once."""
        try:
            return self._send(method, path, body, f"Bearer {self.token()}")
        except GitHubError as error:
            if error.status != 401 or self.github.auth != "app":
                raise
        self._expires = 0.0
        return self._send(method, path, body, f"Bearer {self.token()}")

    def _send(self, method: str, path: str, body: object, authorization: str, moved: str = "") -> Any:
        request = urllib.request.Request(
            moved or self.root + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": authorization,
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "User-Agent": "thebes-runner",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        what = f"{method} {self.root}{path.partition('?')[0]}"
        try:
            with self.opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if not moved and (there := self._moved(error)):
                return self._send(method, path, body, authorization, there)
            detail = error_detail(error)
            wait = retry_after(error.headers, self.clock())
            raise GitHubError(f"{what} answered {error.code}: {detail}{hint(error.code)}", error.code, wait) from None
        except (OSError, http.client.HTTPException) as error:  # URLError, time-outs, resets, half an answer
            reason = getattr(error, "reason", error) or repr(error)
            raise GitHubError(f"{what} got no answer: {reason}") from None
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError):
            raise GitHubError(f"{what} answered something that is not JSON") from None

    def _moved(self, error: urllib.error.HTTPError) -> str:
        """Where a repository is that was renamed; urllib follows for GET only."""
        there = urllib.parse.urljoin(self.root, error.headers.get("Location", ""))
        same = urllib.parse.urlsplit(there)[:2] == urllib.parse.urlsplit(self.root)[:2]
        return there if error.code in (307, 308) and same else ""

    # --- runners ----------------------------------------------------------------------------

    @understood("one-time configuration")
    def mint(self, name: str, labels: tuple[str, ...], group_id: int) -> tuple[int, str]:
        """Register an ephemeral runner; its id and the one-time configuration (base64)."""
        body = {
            "name": name,
            "labels": list(labels),
            "runner_group_id": group_id,
            "work_folder": "_work",
        }
        answer = self.request("POST", f"{scope_path(self.github)}/actions/runners/generate-jitconfig", body)
        return int(answer["runner"]["id"]), str(answer["encoded_jit_config"])

    @understood("registration token")
    def registration_token(self) -> str:
        answer = self.request("POST", f"{scope_path(self.github)}/actions/runners/registration-token", {})
        return str(answer["token"])

    def registrations(self, prefix: str) -> Iterator[Registration]:
        """All runners whose name starts with `prefix`, over as many pages as there are."""
        with understood("list of runners"):
            for value in self._pages(f"{scope_path(self.github)}/actions/runners", "runners"):
                if str(value["name"]).startswith(prefix):
                    yield registration(value)

    @understood("list of runners")
    def named(self, name: str) -> Registration | None:
        """GitHub picks it: in a list of many pages it is overlooked when others go meanwhile."""
        path = f"{scope_path(self.github)}/actions/runners"
        listed = self._pages(path, "runners", f"name={urllib.parse.quote(name, safe='')}&")
        return next((registration(value) for value in listed if value["name"] == name), None)

    def check_access(self) -> None:
        """GitHubError when these credentials may not look at the target's runners."""
        self.request("GET", f"{scope_path(self.github)}/actions/runners?per_page=1")

    @understood("runner")
    def find(self, runner_id: int) -> Registration | None:
        """None for a registration that is gone."""
        try:
            answer = self.request("GET", f"{scope_path(self.github)}/actions/runners/{runner_id}")
        except GitHubError as error:
            if error.status == 404:
                return None
            raise
        return registration(answer)

    def delete(self, runner_id: int) -> bool:
        """Remove a registration; False when GitHub keeps it because a job runs on it (422)."""
        try:
            self.request("DELETE", f"{scope_path(self.github)}/actions/runners/{runner_id}")
        except GitHubError as error:
            if error.status == 422:
                return False
            if error.status != 404:  # already gone is what was wanted
                raise
        return True

    def admit(self) -> int:
        """The id of the runner group to register in (only organizations and enterprises have any); an error
        when a public repository could send jobs to runners there."""
        if self.github.scope == "repository":
            public, group = not self.github.allow_public and self._is_public(), 1
        else:
            public, group = self._group()
        if public and not self.github.allow_public:
            raise SettingsError(
                f"{self.github.target} is public or its runner group serves public "
                "repositories: anyone could run code here. Close it, or set runner_allow_public"
            )
        return group

    @understood("repository")
    def _is_public(self) -> bool:
        return not self.request("GET", scope_path(self.github))["private"]

    @understood("list of runner groups")
    def _group(self) -> tuple[bool, int]:
        """Whether public repositories may use it, and its id."""
        path = f"{scope_path(self.github)}/actions/runner-groups"
        found = []
        for group in self._pages(path, "runner_groups"):
            if group["name"] == self.github.group:
                return bool(group.get("allows_public_repositories", False)), int(group["id"])
            found.append(str(group["name"]))
        raise SettingsError(
            f"runner group {self.github.group!r} does not exist at {self.github.target}; "
            f"found: {', '.join(found) or 'none'}"
        )

    @understood("list of downloads")
    def newest_runner_version(self) -> str:
        """The version that GitHub offers for download, e.g. `2.338.0`."""
        answer = self.request("GET", f"{scope_path(self.github)}/actions/runners/downloads")
        for download in answer:
            if download["os"] == "linux" and download["architecture"] == "x64":
                return str(download["filename"]).rpartition("-")[2].removesuffix(".tar.gz")
        raise GitHubError("GitHub's list of runner downloads has no entry for linux x64")

    @understood("release")
    def released(self, version: str) -> float | None:
        """When this version of the runner came out (Unix time); None where only GitHub.com would know it."""
        try:
            answer = self.request("GET", f"/repos/actions/runner/releases/tags/v{version}")
        except GitHubError as error:
            if error.status == 404 or (error.status == 403 and error.retry_after is None):
                return None
            raise
        return datetime.datetime.fromisoformat(answer["published_at"].replace("Z", "+00:00")).timestamp()

    def _pages(self, path: str, key: str, query: str = "") -> Iterator[dict[str, Any]]:
        for page in range(1, 10_000):
            answer = self.request("GET", f"{path}?{query}per_page={PER_PAGE}&page={page}")
            yield from answer[key]
            if len(answer[key]) < PER_PAGE:
                return


def error_detail(error: urllib.error.HTTPError) -> str:
    """GitHub's own words; those of a proxy in between, shortened."""
    text = b""
    with error, contextlib.suppress(OSError, http.client.HTTPException):
        text = error.read()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return text[:200].decode("utf-8", "replace").strip().replace("\n", " ") or "no text"


def hint(status: int) -> str:
    """What to do about a status, as the end of an error line."""
    return {
        401: " (the token or the App's key is wrong or expired)",
        403: " (the App or token lacks the permission to administer runners here)",
        404: " (wrong runner_scope or runner_target, or the App is not installed there)",
        422: " (GitHub refuses the values; a runner group or a name in use?)",
    }.get(status, "")
