"""The part of GitHub's REST API that the kit asks, on a free port of this machine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "none"  # noqa: S105  (what act hands out, too)


class GitHub:
    """`answers` by method and path without its query; what was sent to it is in `sent`. Lists are given in pages."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, Any]] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query))
        self.asked.append(query)
        name = f"{method} {parts.path}"
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        if name not in self.answers:
            return 404, {"message": "Not Found"}
        if method != "GET":
            self.sent.append((name, json.loads(body) if body else None))
        return 200, _page(self.answers[name], query)


def _page(found: Any, query: dict[str, str]) -> Any:
    size, number = int(query.get("per_page", "30")), int(query.get("page", "1"))
    if isinstance(found, list):
        return found[size * (number - 1) : size * number]
    return {**found, "jobs": _page(found["jobs"], query)} if "jobs" in found else found


@contextmanager
def serve(answers: dict[str, Any]) -> Iterator[GitHub]:
    github = GitHub(answers)

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = github.answer(self.command, self.path, self.headers["Authorization"], body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _do  # noqa: N815  (the library's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        github.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield github
        finally:
            server.shutdown()
            thread.join()
