"""A server that speaks TLS only, with a certificate that nobody vouches for: in front of one that runs without."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

HOST = "127.0.0.1"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # PostgreSQL's protocol: a client asks before it greets by TLS
READ = 1 << 16


def certificate(folder: Path) -> Path:
    """A key and its own certificate for 127.0.0.1, in one file."""
    key, path = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(key.read_text() + path.read_text())
    return path


@contextmanager
def tls_only(certificate: Path, behind: int, *, asks_first: bool) -> Iterator[int]:
    """The port at which the server behind a port is reached by TLS. `asks_first`: as clients of PostgreSQL do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            plain: socket.socket = self.request
            if asks_first:
                if plain.recv(len(SSL_REQUEST), socket.MSG_WAITALL) != SSL_REQUEST:
                    return
                plain.sendall(b"S")
            with (
                contextlib.suppress(OSError),  # clients may go at any time, as those that trust no stranger do
                context.wrap_socket(plain, server_side=True) as client,
                socket.create_connection((HOST, behind)) as server,
            ):
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()

    with ThreadingTCPServer((HOST, 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until one of them ends; then both hear of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(READ):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
