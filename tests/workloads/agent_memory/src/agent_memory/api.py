"""The HTTP API."""

import secrets
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, JsonValue
from starlette.routing import Match

from .model import KEY_LIMIT, Conflict, Memory, PoolExhausted, Store, StoreError

BODY_LIMIT = 1 << 20
Namespace = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Key = Annotated[str, Path(min_length=1, max_length=KEY_LIMIT, pattern=r"^[^\x00-\x1f]+$")]


class Write(BaseModel):
    """What to remember, for how many seconds, and over which version."""

    model_config = {"extra": "forbid"}
    value: JsonValue
    ttl: float | None = Field(default=None, gt=0, lt=1e9)
    if_version: int | None = Field(default=None, ge=0, lt=2**31 - 1)


class Told(BaseModel):
    """A memory, as the API tells it."""

    id: UUID
    namespace: str
    key: str
    value: JsonValue
    version: int
    created: float
    expires: float | None


class Problem(BaseModel):
    detail: str


class Health(BaseModel):
    status: str


PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (401, 413, 503)}


def create_app(store: Store, token: str) -> FastAPI:
    """The API on `store`, for those who know `token`."""

    def allowed(authorization: Annotated[str | None, Header()] = None) -> None:
        given = (authorization or "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    def small(request: Request) -> None:
        if int(request.headers.get("content-length", "0")) > BODY_LIMIT:
            raise HTTPException(413, f"more than {BODY_LIMIT} bytes")

    app = FastAPI(title="Agent memory", version="0.1.0")
    guarded: dict[str, Any] = {"dependencies": [Depends(allowed), Depends(small)], "responses": PROBLEMS}

    @app.exception_handler(StoreError)
    def store_error(_request: Request, error: StoreError) -> JSONResponse:
        headers = {"Retry-After": "1"} if isinstance(error, PoolExhausted) else {}
        return JSONResponse({"detail": "the store can't be used"}, 503, headers)

    @app.exception_handler(405)
    def wrong_method(request: Request, _error: Exception) -> JSONResponse:
        """`Allow` names the methods of all routes of the path, not of the first."""
        routes = [route for route in app.routes if route.matches(request.scope)[0] != Match.NONE]
        allowed = sorted({method for route in routes for method in getattr(route, "methods", None) or ()})
        return JSONResponse({"detail": "no such method here"}, 405, {"Allow": ", ".join(allowed)})

    @app.get("/health")
    def health() -> Health:
        return Health(status="ok")

    @app.put("/memories/{namespace}/{key}", **_with(guarded, 409))
    def put(namespace: Namespace, key: Key, write: Write) -> Told:
        try:
            return _told(store.put(namespace, key, write.value, ttl=write.ttl, if_version=write.if_version))
        except Conflict as error:
            raise HTTPException(409, str(error)) from None
        except ValueError as error:
            raise HTTPException(422, [{"loc": ["path"], "msg": str(error), "type": "value_error"}]) from None

    @app.get("/memories/{namespace}/{key}", **_with(guarded, 404))
    def get(namespace: Namespace, key: Key) -> Told:
        memory = store.get(namespace, key)
        if memory is None:
            raise HTTPException(404, "no such memory")
        return _told(memory)

    @app.delete("/memories/{namespace}/{key}", status_code=204, **_with(guarded, 404))
    def delete(namespace: Namespace, key: Key) -> None:
        if not store.delete(namespace, key):
            raise HTTPException(404, "no such memory")

    @app.get("/memories/{namespace}", **guarded)
    def find(
        namespace: Namespace,
        pattern: Annotated[str, Query(max_length=KEY_LIMIT, pattern=r"^[^\x00-\x1f]*$")] = "*",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[Told]:
        return [_told(memory) for memory in store.find(namespace, pattern, limit=limit)]

    @app.get("/stats", **guarded)
    def stats() -> dict[str, int]:
        return dict(store.stats().by_namespace)

    return app


def _with(guarded: dict[str, Any], code: int) -> dict[str, Any]:
    return {**guarded, "responses": {**PROBLEMS, code: {"model": Problem}}}


def _told(memory: Memory) -> Told:
    return Told(
        id=memory.id,
        namespace=memory.namespace,
        key=memory.key,
        value=memory.value,
        version=memory.version,
        created=memory.created,
        expires=memory.expires,
    )
