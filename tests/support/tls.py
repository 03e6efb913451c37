"""A server that speaks TLS only, with a certificate that nobody vouches for: in front of one that runs without."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    relay = _Relay(certificate, behind, asks_first=asks_first)
    try:
        yield asyncio.run_coroutine_threadsafe(relay.start(), loop).result()
        asyncio.run_coroutine_threadsafe(relay.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Relay:
    def __init__(self, certificate: Path, behind: int, *, asks_first: bool) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.behind = behind
        self.asks_first = asks_first
        self.serving: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        context = None if self.asks_first else self.context
        self.server = await asyncio.start_server(self._accept, HOST, 0, ssl=context)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self.server.close()
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.serving.add(task)
        try:
            with contextlib.suppress(OSError):  # a client may go at any time, as one that trusts no stranger does
                await self._serve(reader, writer)
        finally:
            self.serving.discard(task)
            writer.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.asks_first:
            if await reader.read(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(self.context)
        answers, asks = await asyncio.open_connection(HOST, self.behind)
        done, left = await asyncio.wait(
            [asyncio.ensure_future(_pump(reader, asks)), asyncio.ensure_future(_pump(answers, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in left:
            task.cancel()
        await asyncio.gather(*done, *left, return_exceptions=True)
        asks.close()


async def _pump(source: StreamReader, target: StreamWriter) -> None:
    while data := await source.read(READ):
        target.write(data)
        await target.drain()
