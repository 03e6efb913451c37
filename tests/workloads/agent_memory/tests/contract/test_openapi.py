"""Every operation of the API does what its OpenAPI document says. A test's id names the operation it exercised."""

from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from sqlalchemy import StaticPool, create_engine

from agent_memory.api import create_app
from agent_memory.schema import metadata
from agent_memory.sql import SqlStore

TOKEN = "contract"
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
store = SqlStore(engine)
metadata.create_all(engine)
app = create_app(store, TOKEN)
schema = schemathesis.openapi.from_asgi("/openapi.json", app)
OPERATIONS = {
    "GET /health",
    "GET /stats",
    "GET /memories/{namespace}",
    "GET /memories/{namespace}/{key}",
    "PUT /memories/{namespace}/{key}",
    "DELETE /memories/{namespace}/{key}",
}


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_operation(operation: str) -> None:
    method, path = operation.split()

    @settings(max_examples=25)
    @given(schema[path][method].as_strategy())
    def holds(case: schemathesis.Case[Any]) -> None:
        store.put("known", "key", {"a": 1})
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})

    holds()


def test_these_are_all_operations() -> None:
    paths = app.openapi()["paths"]
    assert {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations} == OPERATIONS


@pytest.mark.parametrize("operation", sorted(OPERATIONS - {"GET /health"}))
def test_every_operation_but_health_says_that_it_needs_a_token(operation: str) -> None:
    method, path = operation.split()
    assert "401" in app.openapi()["paths"][path][method.lower()]["responses"]
