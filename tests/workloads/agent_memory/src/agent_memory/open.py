"""From a URL to a store."""

import redis
import sqlalchemy as sa

from .model import Store
from .redis_store import RedisStore
from .sql import SqlStore


def open_store(url: str, *, pool: int = 10, wait: float = 5.0) -> Store:
    """The back end at `url` (postgresql:, sqlite:, redis:) with at most `pool` connections; `wait`: seconds for one.

    SQL schemas are made by migrations, never here.
    """
    scheme = url.partition(":")[0]
    if scheme == "redis":
        connections = redis.BlockingConnectionPool.from_url(
            url, max_connections=pool, timeout=wait, socket_connect_timeout=5, socket_timeout=30
        )
        return RedisStore(redis.Redis(connection_pool=connections))
    if scheme == "postgresql":
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
        return SqlStore(
            sa.create_engine(
                url, pool_size=pool, max_overflow=0, pool_timeout=wait, connect_args={"connect_timeout": 5}
            )
        )
    if scheme == "sqlite":
        return SqlStore(sa.create_engine(url))
    raise ValueError(f"{scheme}: not a back end; expected postgresql, redis or sqlite")
