from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_github import FakeGitHub, Fault, serve
from thebes_runner import github
from thebes_runner.errors import GitHubError, SettingsError
from thebes_runner.settings import GitHub

Settings = Callable[..., GitHub]


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://git.acme.test:8443", "https://git.acme.test:8443/api/v3"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/api/v3"),
    ],
)
def test_the_api_root_follows_from_the_servers_address(url: str, root: str) -> None:
    assert github.api_root(url) == root


def test_a_token_is_never_sent_over_plain_http() -> None:
    with pytest.raises(SettingsError, match=r"https://"):
        github.api_root("http://git.acme.test")


def test_an_app_mints_a_one_time_configuration(fake: FakeGitHub, github_settings: Settings) -> None:
    client = github.Client(github_settings())
    runner_id, blob = client.mint("h-a-1", ("self-hosted", "local"), client.admit())
    files = json.loads(base64.b64decode(blob))
    assert set(files) == {".runner", ".credentials", ".credentials_rsaparams"}
    assert fake.runners[runner_id].name == "h-a-1"
    assert fake.runners[runner_id].labels == ["self-hosted", "local"]
    assert fake.runners[runner_id].group == 2


def test_a_personal_token_works_too(fake: FakeGitHub, github_settings: Settings) -> None:
    client = github.Client(github_settings(auth="token", scope="repository", target="acme/product"))
    client.mint("h-a-1", ("x",), client.admit())
    assert [r.scope for r in fake.runners.values()] == ["repos/acme/product"]


def test_a_controllers_key_or_token_needs_no_file(fake: FakeGitHub, github_settings: Settings, app_key: Path) -> None:
    nowhere = {"key_file": "/nowhere", "token_file": "/nowhere"}
    for auth, secret in (("app", app_key.read_text()), ("token", "ghp_secret\n")):
        client = github.Client(github_settings(auth=auth, **nowhere), secret)
        client.mint(f"h-{auth}-1", ("x",), client.admit())
    assert sorted(r.name for r in fake.runners.values()) == ["h-app-1", "h-token-1"]
    with pytest.raises(SettingsError, match=r"runner_app_key_file can't sign"):
        github.Client(github_settings(), "hello").token()


@pytest.mark.parametrize(
    ("code", "method", "path", "call"),
    [
        (307, "POST", "/registration-token", lambda client: client.registration_token()),
        (301, "GET", "", lambda client: list(client.registrations("")) == []),
    ],
)
def test_a_renamed_repository_is_followed_on_its_own_server_only(
    fake: FakeGitHub, github_settings: Settings, code: int, method: str, path: str,
    call: Callable[[github.Client], object],
) -> None:  # fmt: skip
    """Elsewhere it would be given the token."""
    client = github.Client(github_settings(scope="repository", target="acme/old"))
    other = FakeGitHub(pat="ghp_secret")
    server = serve(other, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    for place in (fake.public_url, f"http://127.0.0.1:{server.server_address[1]}"):
        there = f"{place}/api/v3/repos/acme/new/actions/runners{path}"
        fake.faults = [Fault("/repos/acme/old/", status=code, headers={"Location": there})]
        with contextlib.nullcontext() if place == fake.public_url else pytest.raises(GitHubError, match=rf"{code}"):
            assert call(client)
        assert fake.faults[0].count == 0
    server.shutdown()
    server.server_close()
    assert [asked for asked in fake.requests if "acme/" in asked] == [f"{method} /repos/acme/new/actions/runners{path}"]
    assert other.requests == []


def test_enterprise_scope(fake: FakeGitHub, github_settings: Settings) -> None:
    client = github.Client(github_settings(auth="token", scope="enterprise", target="big"))
    client.mint("h-a-1", ("x",), client.admit())
    assert [r.scope for r in fake.runners.values()] == ["enterprises/big"]


def test_the_installation_is_found_on_the_second_page(fake: FakeGitHub, github_settings: Settings) -> None:
    github.Client(github_settings()).registration_token()
    assert fake.requests.count("GET /app/installations") == 2
    assert "POST /app/installations/7/access_tokens" in fake.requests


def test_an_app_that_is_not_installed_is_named(github_settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"not installed at 'elsewhere'"):
        github.Client(github_settings(target="elsewhere")).registration_token()


def test_the_token_is_reused_and_renewed_when_it_expires(fake: FakeGitHub, github_settings: Settings) -> None:
    client = github.Client(github_settings(installation_id="7"))
    client.registration_token()
    client.registration_token()
    sign_in = "POST /app/installations/7/access_tokens"
    assert fake.requests.count(sign_in) == 1
    fake.tokens.clear()  # GitHub no longer knows it
    client.registration_token()
    assert fake.requests.count(sign_in) == 2


def test_a_token_near_its_end_is_not_used(fake: FakeGitHub, github_settings: Settings) -> None:
    now = time.time()
    client = github.Client(github_settings(installation_id="7"), clock=lambda: now)
    client.registration_token()
    client.clock = lambda: now + 3600 - github.TOKEN_MARGIN_SECONDS + 1
    assert client._token
    first = client._token
    with pytest.raises(GitHubError):  # GitHub refuses a token dated an hour ahead
        client.token()
    assert client._token == first


def test_a_wrong_key_is_refused_with_a_hint(fake: FakeGitHub, github_settings: Settings) -> None:
    with pytest.raises(GitHubError, match=r"answered 401: .*App's key is wrong"):
        github.Client(github_settings(app_id="999")).registration_token()


def test_a_key_file_that_is_no_key(github_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("hello")
    with pytest.raises(SettingsError, match=r"private key in PEM"):
        github.Client(github_settings(key_file=str(file))).token()


def test_paging_finds_250_runners(fake: FakeGitHub, github_settings: Settings) -> None:
    for i in range(250):
        fake.add("orgs/acme", f"{'mine' if i % 2 else 'other'}-{i}", [], 1, True)
    client = github.Client(github_settings(installation_id="7"))
    assert len(list(client.registrations("mine-"))) == 125
    assert fake.requests.count("GET /orgs/acme/actions/runners") == 3


def test_deleting_what_is_gone_is_fine_and_a_busy_runner_stays(fake: FakeGitHub, github_settings: Settings) -> None:
    client = github.Client(github_settings(installation_id="7"))
    assert client.delete(4711)
    runner = fake.add("orgs/acme", "a", [], 1, True)
    job = fake.control("/_control/jobs", {"labels": []})[1]["id"]
    runner.last_seen = time.time()
    fake.message(runner)
    assert not client.delete(runner.id)
    assert fake.jobs[job].status == "in_progress"


def test_an_unknown_group_lists_those_that_exist(github_settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"'nightly' does not exist at acme; found: Default, builders"):
        github.Client(github_settings(group="nightly")).admit()


def test_a_wrong_installation_is_not_taken_for_a_runner_that_is_gone(github_settings: Settings) -> None:
    client = github.Client(github_settings(installation_id="8"))
    for call in (client.find, client.delete):
        with pytest.raises(
            SettingsError, match=r"can't sign in as the App 12345 .* check runner_app_id and runner_app_i"
        ):
            call(1)


def test_a_runner_is_picked_by_github_whose_list_may_change_meanwhile(
    fake: FakeGitHub, github_settings: Settings
) -> None:
    for name in [*(f"h-{number}" for number in range(150)), "h a&b"]:
        fake.add("orgs/acme", name, [], 1, True)
    client = github.Client(github_settings(installation_id="7"))
    found = client.named("h a&b")
    assert found
    assert found.name == "h a&b"
    assert client.named("h") is None
    assert fake.requests.count("GET /orgs/acme/actions/runners") == 2


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault("registration-token", status=429, headers={"Retry-After": "17"}), 17.0),
        (Fault("registration-token", status=429, headers={"Retry-After": "999999"}), 3600.0),
        (
            Fault(
                "registration-token",
                status=403,
                headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"},
            ),
            0.0,
        ),
        (Fault("registration-token", status=500), None),
    ],
)
def test_faults_tell_how_long_to_wait(
    fake: FakeGitHub, github_settings: Settings, fault: Fault, wait: float | None
) -> None:
    fake.faults = [fault]
    with pytest.raises(GitHubError) as caught:
        github.Client(github_settings(installation_id="7")).registration_token()
    assert caught.value.status == fault.status
    assert caught.value.retry_after == wait


def test_a_slow_answer_is_given_up(
    fake: FakeGitHub, github_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github, "TIMEOUT_SECONDS", 0.2)
    fake.faults = [Fault("registration-token", delay=1.0)]
    with pytest.raises(GitHubError, match=r"got no answer: .*timed out"):
        github.Client(github_settings(installation_id="7")).registration_token()


def test_a_server_that_is_not_there(github_settings: Settings) -> None:
    with pytest.raises(GitHubError, match=r"got no answer: .*refused"):
        github.Client(github_settings(auth="token", url="http://127.0.0.1:1")).registration_token()


def test_backoff_doubles_is_spread_and_obeys_the_server() -> None:
    waits = [github.backoff(n, 5, 300, None, 1.0) for n in (1, 2, 3, 20, 10_000)]
    assert waits == [5, 10, 20, 300, 300]
    assert github.backoff(3, 5, 300, None, 0.0) == 10
    assert [github.backoff(1, 5, 300, 60.0, jitter) for jitter in (0.0, 0.5)] == [60.0, 63.0]


def test_the_newest_version_is_read_from_the_downloads(fake: FakeGitHub, github_settings: Settings) -> None:
    fake.newest = "2.400.1"
    assert github.Client(github_settings(installation_id="7")).newest_runner_version() == "2.400.1"


def test_no_credentials_says_what_to_do(github_settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"run site.yml from the controller"):
        github.Client(github_settings(auth="none")).token()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """The next answers of GitHub, whatever is asked: JSON, or these very bytes on the connection."""

    def answer(value: object) -> None:
        if isinstance(value, bytes):
            raw = value
        else:
            text = json.dumps(value).encode()
            raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text

        class Socket:
            def makefile(self, *_: object) -> io.BytesIO:
                return io.BytesIO(raw)

            def __getattr__(self, _: str) -> Callable[..., None]:
                return lambda *_: None

        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: Socket())

    return answer


CALLS: dict[str, Callable[[github.Client], object]] = {
    "mint": lambda client: client.mint("h", (), 1),
    "registration_token": lambda client: client.registration_token(),
    "registrations": lambda client: list(client.registrations("")),
    "find": lambda client: client.find(1),
    "named": lambda client: client.named("h"),
    "admit": lambda client: client.admit(),
    "newest_runner_version": lambda client: client.newest_runner_version(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "value", [None, [], {}, "x", [1], {"runners": [{}], "runner_groups": [{}]}, {"runner": {"id": "x"}}], ids=repr
)  # fmt: skip
def test_an_answer_of_another_form_is_an_error_of_github(
    answering: Callable[[object], None], github_settings: Settings, value: object,
    call: Callable[[github.Client], object],
) -> None:  # fmt: skip
    """Anything else than a RunnerKitError would end the supervisor."""
    client = github.Client(github_settings(auth="token"))
    answering(value)
    with pytest.raises(GitHubError, match=r"another form|no entry for linux"):
        call(client)


@pytest.mark.parametrize("value", [{}, [{}], {"expires_at": 1, "token": "x"}, {"expires_at": "soon"}])
def test_a_sign_in_of_another_form_is_an_error_of_github(
    answering: Callable[[object], None], github_settings: Settings, value: object
) -> None:
    client = github.Client(github_settings(installation_id="" if isinstance(value, list) else "7"))
    answering(value)
    with pytest.raises(GitHubError, match=r"another form"):
        client.token()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"",
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"[" * 9999,
    ],
    ids=["half", "nonsense", "chunks", "nothing", "half an error", "deep"],
)
def test_an_answer_that_breaks_off_is_an_error_of_github(
    answering: Callable[[object], None], github_settings: Settings, raw: bytes
) -> None:
    answering(raw)
    with pytest.raises(GitHubError, match=r"got no answer: .|answered 500: |not JSON|not the expected"):
        github.Client(github_settings(auth="token")).registration_token()


@pytest.mark.parametrize("text", ["", "ghp_x\nghp_y", "ghp_\u00fc", "two words"], ids=repr)
def test_a_file_that_holds_no_token(github_settings: Settings, tmp_path: Path, text: str) -> None:
    (tmp_path / "odd").write_text(text)
    client = github.Client(github_settings(auth="token", token_file=str(tmp_path / "odd")))
    with pytest.raises(SettingsError, match=r"odd holds no token: expected one line") as caught:
        client.registration_token()
    assert "ghp_" not in str(caught.value)
