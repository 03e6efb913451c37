"""The first boot's program, with the clouds' own libraries; their addresses lead to stand-ins, by TLS where they do."""

from __future__ import annotations

import base64
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import app_key
import pytest

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"
GOOGLE = "projects/acme-ci/secrets/app/versions/latest"
AZURE = "https://acme.vault.azure.net/secrets/app"
AWS = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:runners/app"
IDENTITY = {"access_token": "of-the-machine", "expires_in": 3600, "expires_on": "1999999999", "token_type": "Bearer"}
METADATA = ("metadata.google.internal", "169.254.169.254")
STORES = ("secretmanager.googleapis.com", "acme.vault.azure.net", "secretsmanager.eu-central-1.amazonaws.com")
Answers = dict[str, str]


class Cloud(http.server.BaseHTTPRequestHandler):
    """The metadata services of the three, and their stores, which answer to the machine's identity only."""

    protocol_version = "HTTP/1.1"
    secrets: ClassVar[Answers]

    def do_GET(self) -> None:
        host, path = self.headers["Host"], self.path
        identified = self.headers["Authorization"] == f"Bearer {IDENTITY['access_token']}"
        if self.headers["Metadata-Flavor"] == "Google" and host in METADATA:
            account = {"email": "ci@acme.test", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
            self.answer(200, IDENTITY if "/token" in path else account, {"Metadata-Flavor": "Google"})
        elif self.headers["Metadata"] == "true" and "resource=https://vault.azure.net" in path:
            self.answer(200, IDENTITY)
        elif host == "acme.vault.azure.net" and not identified:
            server = 'authorization="https://login.microsoftonline.com/acme", resource="https://vault.azure.net"'
            self.answer(401, {}, {"WWW-Authenticate": f"Bearer {server}"})
        elif identified and (found := re.fullmatch(r"/(?:v1/)?([^:?]+)(:access|\?api-version=.*)", path)):
            text = self.secrets.get(found[1].rstrip("/"))
            data = base64.b64encode((text or "").encode()).decode()
            self.answer(404 if text is None else 200, {"payload": {"data": data}, "value": text, "id": AZURE})
        else:
            self.answer(403, {})

    def do_PUT(self) -> None:
        self.answer(200, {})  # a session's token of AWS

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = self.secrets.get(asked["SecretId"])
        signed = "AKIAMACHINE/" in self.headers["Authorization"]
        self.answer(200 if signed and text is not None else 400, {"SecretString": text})

    def answer(self, code: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        for name, text in {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """pytest shows what matters."""


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    names = ",".join(f"DNS:{name}" for name in STORES)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cloud", "-addext"]
    command += [f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(Cloud):
        secrets: ClassVar[Answers] = {}

    plain, safe = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2))
    safe.socket = context.wrap_socket(safe.socket, server_side=True)
    for server in (plain, safe):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    ports = {**dict.fromkeys(METADATA, plain.server_address[1]), **dict.fromkeys(STORES, safe.server_address[1])}

    def lead(host: str, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", ports[host]))]

    monkeypatch.setattr(socket, "getaddrinfo", lead)
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    yield Handler.secrets
    for server in (plain, safe):
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (AWS, AWS),
        (GOOGLE, GOOGLE),
        (AZURE, "secrets/app"),
        (f"{AZURE}/0a1b", "secrets/app/0a1b"),
    ],
)
def test_each_clouds_store_gives_the_key_to_the_machine(secrets: Answers, name: str, asked: str) -> None:
    secrets[asked] = KEY
    assert app_key.main(name) == KEY
    secrets[asked] = "MIIE"
    with pytest.raises(SystemExit, match=r"holds no private key: expected its PEM text") as stop:
        app_key.main(name)
    assert "MIIE" not in str(stop.value)


@pytest.mark.parametrize("name", [AWS, GOOGLE, AZURE])
def test_a_secret_that_is_not_there_is_told_in_one_line(secrets: Answers, name: str) -> None:
    assert not secrets
    with pytest.raises(SystemExit, match=rf"^app_key.py: {re.escape(name)}: ") as stop:
        app_key.main(name)
    assert stop.value.code != 0


@pytest.mark.parametrize("name", ["SECRET", "runners/app", f"{GOOGLE}/../x", "http://acme.vault.azure.net/secrets/app"])
def test_what_is_no_secrets_name_is_told_with_the_right_forms(name: str) -> None:
    with pytest.raises(SystemExit, match=rf"'{re.escape(name)}' is no secret's full name; expected one of these"):
        app_key.main(name)
