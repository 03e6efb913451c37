"""A GitHub that runners can be tested against: the REST calls of the kit, and a job queue.

The REST half follows GitHub's public documentation (statuses, paging, sign-in by App or token). The
half under /_broker is what the stand-in of the runner talks to, in place of GitHub's job service;
/_control breaks things on purpose. Standard library only; `openssl` checks the App's signature.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import email.utils
import json
import re
import secrets
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PREFIX = r"/(?P<scope>repos/[^/]+/[^/]+|orgs/[^/]+|enterprises/[^/]+)"
JWT_MAX_SECONDS = 600


@dataclasses.dataclass
class Runner:
    id: int
    name: str
    scope: str
    labels: list[str]
    group: int
    ephemeral: bool
    credential: str
    last_seen: float = 0.0
    job: str = ""


@dataclasses.dataclass
class Job:
    id: str
    body: dict[str, Any]
    status: str = "queued"
    conclusion: str = ""
    runner: str = ""
    log: str = ""
    started: float = 0.0
    finished: float = 0.0


@dataclasses.dataclass
class Fault:
    """The next `count` requests whose path matches get this status or are delayed."""

    match: str
    count: int = 1
    status: int = 0
    delay: float = 0.0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class Answer(Exception):  # noqa: N818  (an answer that comes early, not always an error)
    def __init__(self, status: int, body: Any = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class FakeGitHub:
    """All state, behind one lock."""

    def __init__(self, public_key: str = "", pat: str = "", app_id: str = "12345") -> None:
        self.lock = threading.RLock()
        self.public_key = public_key
        self.app_id = app_id
        self.pats = {pat} if pat else set()
        self.tokens: dict[str, float] = {}
        self.registration_tokens: set[str] = set()
        self.runners: dict[int, Runner] = {}
        self.jobs: dict[str, Job] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.next_id = 1
        self.offline_after = 20.0  # GitHub takes minutes
        self.date_skew = 0.0
        self.private = True
        self.group_public = False
        self.newest = "2.336.0"
        self.published: dict[str, str] = {}  # when versions of the runner came out
        self.groups = ["Default", "builders"]
        self.files = ""
        self.public_url = ""

    # --- REST --------------------------------------------------------------------------------

    def rest(self, method: str, path: str, query: dict[str, str], body: Any, bearer: str) -> Any:
        if path == "/meta":
            return 200, {"verifiable_password_authentication": False}
        if path.startswith("/app/"):
            self.check_jwt(bearer)
            return self.app(method, path, query)
        if bearer not in self.pats and self.tokens.get(bearer, 0) < time.time():
            raise Answer(401, {"message": "Bad credentials"})
        for verb, pattern, call in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                return call(self, found.groupdict(), query, body or {})
        raise Answer(404, {"message": "Not Found"})

    def check_jwt(self, token: str) -> None:
        """RS256 by the App's key, not expired, and valid for ten minutes at most."""
        try:
            head, claims, signature = token.split(".")
            values = json.loads(unbase64url(claims))
            assert json.loads(unbase64url(head))["alg"] == "RS256"
        except (ValueError, AssertionError, KeyError):
            raise Answer(401, {"message": "A JSON web token could not be decoded"}) from None
        now = time.time()
        if values["exp"] < now or values["exp"] - values["iat"] > JWT_MAX_SECONDS or values["iat"] > now:
            raise Answer(401, {"message": "'Expiration time' claim ('exp') is too far in the future"})
        with tempfile.NamedTemporaryFile() as file:
            file.write(unbase64url(signature))
            file.flush()
            command = ["openssl", "dgst", "-sha256", "-verify", self.public_key, "-signature", file.name]
            done = subprocess.run(command, input=f"{head}.{claims}".encode(), capture_output=True, check=False)
        if done.returncode != 0 or str(values["iss"]) != self.app_id:
            raise Answer(401, {"message": "A JSON web token could not be decoded"})

    def app(self, method: str, path: str, query: dict[str, str]) -> Any:
        if method == "GET" and path == "/app/installations":
            every = [{"id": 70 + i, "account": {"login": f"other{i}"}} for i in range(120)]
            every.append({"id": 6, "account": {"slug": "acme"}})  # an enterprise
            every.append({"id": 7, "account": {"login": "acme"}})
            return 200, page_of(every, query)
        found = re.fullmatch(r"/app/installations/(\d+)/access_tokens", path)
        if method == "POST" and found:
            if found[1] != "7":
                raise Answer(404, {"message": "Not Found"})
            token = "ghs_" + secrets.token_hex(18)
            self.tokens[token] = time.time() + 3600
            return 201, {"token": token, "expires_at": stamp(self.tokens[token])}
        raise Answer(404, {"message": "Not Found"})

    def repository(self, where: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        return 200, {"full_name": where["scope"].removeprefix("repos/"), "private": self.private}

    def registration_token(self, _w: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        token = "A" + secrets.token_hex(14).upper()
        self.registration_tokens.add(token)
        return 201, {"token": token, "expires_at": stamp(time.time() + 3600)}

    def jit(self, where: dict[str, str], _q: dict[str, str], body: Any) -> Any:
        for key in ("name", "labels", "runner_group_id"):
            if key not in body:
                raise Answer(422, {"message": f'Invalid request.\n\n"{key}" wasn\'t supplied.'})
        if any(r.name == body["name"] for r in self.runners.values()):
            raise Answer(409, {"message": "Already exists - A runner with the name already exists."})
        runner = self.add(where["scope"], body["name"], body["labels"], body["runner_group_id"], True)
        files = {
            name: base64.b64encode(text.encode()).decode() for name, text in config(runner, self.public_url).items()
        }
        blob = base64.b64encode(json.dumps(files).encode()).decode()
        return 201, {"runner": self.show(runner), "encoded_jit_config": blob}

    def add(self, scope: str, name: str, labels: list[str], group: int, ephemeral: bool) -> Runner:
        runner = Runner(self.next_id, name, scope, labels, group, ephemeral, secrets.token_hex(8))
        self.next_id += 1
        self.runners[runner.id] = runner
        return runner

    def list_runners(self, where: dict[str, str], query: dict[str, str], _b: Any) -> Any:
        found = [self.show(r) for r in self.runners.values() if r.scope == where["scope"]]
        if "name" in query:
            found = [r for r in found if r["name"] == query["name"]]
        return 200, {"total_count": len(found), "runners": page_of(found, query)}

    def get_runner(self, where: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        return 200, self.show(self.find(where))

    def delete_runner(self, where: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        runner = self.find(where)
        if self.busy(runner):
            raise Answer(422, {"message": f"Runner {runner.name!r} is still running a job"})
        del self.runners[runner.id]
        return 204, None

    def put_labels(self, where: dict[str, str], _q: dict[str, str], body: Any) -> Any:
        runner = self.find(where)
        runner.labels = list(body["labels"])
        return 200, {"total_count": len(runner.labels), "labels": self.show(runner)["labels"]}

    def list_groups(self, where: dict[str, str], query: dict[str, str], _b: Any) -> Any:
        if where["scope"].startswith("repos/"):
            raise Answer(404, {"message": "Not Found"})
        every = [
            {"id": i, "name": name, "allows_public_repositories": self.group_public}
            for i, name in enumerate(self.groups, 1)
        ]
        return 200, {"total_count": len(every), "runner_groups": page_of(every, query)}

    def downloads(self, _w: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        return 200, [
            {
                "os": "linux",
                "architecture": arch,
                "filename": f"actions-runner-linux-{arch}-{self.newest}.tar.gz",
            }
            for arch in ("x64", "arm64")
        ]

    def release(self, where: dict[str, str], _q: dict[str, str], _b: Any) -> Any:
        if where["version"] not in self.published:
            raise Answer(404, {"message": "Not Found"})
        return 200, {"tag_name": f"v{where['version']}", "published_at": self.published[where["version"]]}

    def find(self, where: dict[str, str]) -> Runner:
        runner = self.runners.get(int(where["id"]))
        if runner is None or runner.scope != where["scope"]:
            raise Answer(404, {"message": "Not Found"})
        return runner

    def online(self, runner: Runner) -> bool:
        return time.time() - runner.last_seen < self.offline_after

    def busy(self, runner: Runner) -> bool:
        """A job whose runner has been silent for too long is lost, and the runner not busy."""
        if runner.job and not self.online(runner):
            job = self.jobs[runner.job]
            job.status, job.conclusion, job.finished = "completed", "lost", time.time()
            runner.job = ""
        return bool(runner.job)

    def show(self, runner: Runner) -> dict[str, Any]:
        labels = [{"name": name, "type": "custom"} for name in runner.labels]
        busy = self.busy(runner)
        status = "online" if self.online(runner) else "offline"
        return {
            "id": runner.id, "name": runner.name, "os": "linux", "status": status, "busy": busy,
            "ephemeral": runner.ephemeral, "runner_group_id": runner.group, "labels": labels,
        }  # fmt: skip

    # --- the job service, for the stand-in of the runner -------------------------------------

    def broker(self, path: str, body: Any) -> Any:
        if path == "/_broker/register":
            return self.register(body)
        runner = self.runners.get(int(body["runner_id"]))
        if runner is None or runner.credential != body["credential"]:
            raise Answer(404, {"message": "The runner registration has been deleted"})
        runner.last_seen = time.time()
        if path == "/_broker/session":
            return 200, {}
        if path == "/_broker/message":
            return self.message(runner)
        if path == "/_broker/renew":
            self.jobs[runner.job].log = body.get("log", "")
            return 200, {}
        if path == "/_broker/finish":
            job = self.jobs[runner.job]
            job.status, job.conclusion, job.log = "completed", body["conclusion"], body["log"]
            job.finished = time.time()
            runner.job = ""
            if runner.ephemeral:
                del self.runners[runner.id]
            return 200, {}
        raise Answer(404)

    def register(self, body: Any) -> Any:
        """What config.sh does with its registration token."""
        if body["token"] not in self.registration_tokens:
            raise Answer(404, {"message": "Not Found"})
        scope, group = body["scope"], body["group"] or "Default"
        if group not in self.groups:
            raise Answer(422, {"message": "Not Found"})
        same = [r for r in self.runners.values() if r.scope == scope and r.name == body["name"]]
        if same and not body["replace"]:
            raise Answer(409, {"message": "A runner exists with the same name"})
        for runner in same:
            del self.runners[runner.id]
        runner = self.add(scope, body["name"], body["labels"], self.groups.index(group) + 1, body["ephemeral"])
        return 200, config(runner, self.public_url)

    def message(self, runner: Runner) -> Any:
        for job in self.jobs.values():
            if job.status == "queued" and set(job.body.get("labels", [])) <= set(runner.labels):
                job.status, job.runner, job.started = "in_progress", runner.name, time.time()
                runner.job = job.id
                return 200, {"id": job.id, **job.body}
        return 204, None

    # --- control, for the tests --------------------------------------------------------------

    def control(self, path: str, body: Any) -> Any:
        """`/_control/NAME` or, for a job, `/_control/jobs/ID`; a body is for what changes something."""
        name, _, which = path.removeprefix("/_control/").partition("/")
        if name not in CONTROLS or (which and which not in self.jobs):
            raise Answer(404)
        return CONTROLS[name](self, which or body)

    def submit_or_show_job(self, what: str | dict[str, Any]) -> Any:
        if isinstance(what, dict):
            job = Job(secrets.token_hex(4), what)
            self.jobs[job.id] = job
            return 201, {"id": job.id}
        for runner in list(self.runners.values()):
            self.busy(runner)
        return 200, {k: v for k, v in dataclasses.asdict(self.jobs[what]).items() if k != "body"}

    def set_or_show_faults(self, faults: list[dict[str, Any]] | None) -> Any:
        if faults is not None:
            self.faults = [Fault(**fault) for fault in faults]
        return 200, [dataclasses.asdict(fault) for fault in self.faults]

    def set_values(self, values: dict[str, object]) -> Any:
        for key, value in values.items():
            setattr(self, key, value)
        return 200, {}

    def expire_tokens(self, _: object) -> Any:
        self.tokens.clear()
        return 200, {}

    def add_dead_runners(self, body: dict[str, Any]) -> Any:
        for i in range(body["count"]):
            self.add(body["scope"], f"{body['prefix']}{i:04d}", [], 1, True)
        return 200, {}

    def forget(self, body: dict[str, str]) -> Any:
        for key in [k for k, r in self.runners.items() if r.name.startswith(body["prefix"])]:
            del self.runners[key]
        return 200, {}

    def show_runners(self, _: object) -> Any:
        return 200, [{**self.show(r), "scope": r.scope} for r in self.runners.values()]


CONTROLS: dict[str, Callable[[FakeGitHub, Any], Any]] = {
    "jobs": FakeGitHub.submit_or_show_job,
    "faults": FakeGitHub.set_or_show_faults,
    "set": FakeGitHub.set_values,
    "expire-tokens": FakeGitHub.expire_tokens,
    "dead-runners": FakeGitHub.add_dead_runners,
    "forget": FakeGitHub.forget,
    "runners": FakeGitHub.show_runners,
}


def config(runner: Runner, server: str) -> dict[str, str]:
    """The files that make a configured runner."""
    settings = {
        "agentId": runner.id, "agentName": runner.name, "poolId": runner.group, "poolName": "Default",
        "ephemeral": runner.ephemeral, "disableUpdate": True, "serverUrl": server, "workFolder": "_work",
    }  # fmt: skip
    return {
        ".runner": json.dumps(settings),
        ".credentials": json.dumps({"scheme": "OAuth", "data": {"clientId": runner.credential}}),
        ".credentials_rsaparams": json.dumps({"d": secrets.token_hex(8)}),
    }


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def stamp(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def page_of(values: list[Any], query: dict[str, str]) -> list[Any]:
    size = min(100, int(query.get("per_page", "30")))
    first = (int(query.get("page", "1")) - 1) * size
    return values[first : first + size]


ROUTES = [
    ("GET", r"/repos/actions/runner/releases/tags/v(?P<version>[\d.]+)", FakeGitHub.release),
    ("GET", r"/(?P<scope>repos/[^/]+/[^/]+)", FakeGitHub.repository),
    ("POST", PREFIX + "/actions/runners/registration-token", FakeGitHub.registration_token),
    ("POST", PREFIX + "/actions/runners/remove-token", FakeGitHub.registration_token),
    ("POST", PREFIX + "/actions/runners/generate-jitconfig", FakeGitHub.jit),
    ("GET", PREFIX + "/actions/runners/downloads", FakeGitHub.downloads),
    ("GET", PREFIX + "/actions/runners", FakeGitHub.list_runners),
    ("GET", PREFIX + r"/actions/runners/(?P<id>\d+)", FakeGitHub.get_runner),
    ("DELETE", PREFIX + r"/actions/runners/(?P<id>\d+)", FakeGitHub.delete_runner),
    ("PUT", PREFIX + r"/actions/runners/(?P<id>\d+)/labels", FakeGitHub.put_labels),
    ("GET", PREFIX + "/actions/runner-groups", FakeGitHub.list_groups),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github: FakeGitHub

    def date_time_string(self, timestamp: float | None = None) -> str:
        return email.utils.formatdate((timestamp or time.time()) + self.github.date_skew, usegmt=True)

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        body = json.loads(text) if text else None
        parts = urllib.parse.urlsplit(self.path)
        path = parts.path
        query = dict(urllib.parse.parse_qsl(parts.query))
        if path.startswith("/_files/"):
            self.send_file(path.removeprefix("/_files/"))
            return
        headers: dict[str, str] = {}
        try:
            if path.startswith("/_control/"):
                with self.github.lock:
                    status, answer = self.github.control(path, body)
            else:
                self.break_things(path, headers)
                with self.github.lock:
                    if path.startswith("/_broker/"):
                        status, answer = self.github.broker(path, body)
                    else:
                        path = path.removeprefix("/api/v3")
                        self.github.requests.append(f"{self.command} {path}")
                        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                        status, answer = self.github.rest(self.command, path, query, body, bearer)
        except Answer as early:
            status, answer = early.status, early.body
        except (KeyError, TypeError, ValueError) as error:
            status, answer = 400, {"message": repr(error)}
        self.answer(status, answer, headers)

    def break_things(self, path: str, headers: dict[str, str]) -> None:
        with self.github.lock:
            fault = next((f for f in self.github.faults if f.count and re.search(f.match, path)), None)
            if fault:
                fault.count -= 1
        if fault:
            time.sleep(fault.delay)
            if fault.status:
                headers.update(fault.headers)
                raise Answer(fault.status, {"message": f"broken on purpose ({fault.status})"})

    def answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def send_file(self, name: str) -> None:
        file = Path(self.github.files, Path(name).name)
        if not file.is_file():
            self.answer(404, {"message": "Not Found"}, {})
            return
        text = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  (http.server's names)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


def serve(github: FakeGitHub, host: str, port: int, certificate: str = "", key: str = "") -> Server:
    """A listening server; call serve_forever on it (in a thread, perhaps)."""
    handler = type("BoundHandler", (Handler,), {"github": github})
    server = Server((host, port), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # The handshake in the connection's own thread: a silent client must not stop the rest.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--app-public-key", default="")
    parser.add_argument("--token", default="")
    parser.add_argument("--public-url", required=True, help="how runners reach this server")
    parser.add_argument("--files", default="", help="folder served under /_files/")
    arguments = parser.parse_args()
    github = FakeGitHub(arguments.app_public_key, arguments.token)
    github.files = arguments.files
    github.public_url = arguments.public_url
    serve(github, arguments.host, arguments.port, arguments.certificate, arguments.key).serve_forever()


if __name__ == "__main__":
    main()
