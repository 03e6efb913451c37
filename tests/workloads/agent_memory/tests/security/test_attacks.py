"""Attacks that must fail."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from agent_memory.api import BODY_LIMIT, create_app
from agent_memory.sql import SqlStore

pytestmark = pytest.mark.security
TOKEN = "s3cret"
HOSTILE = [
    "'; DROP TABLE memory; --",
    '" OR 1=1',
    "%",
    "_",
    "\\",
    "${jndi:ldap://x}",
    "<script>",
    "../../etc/passwd",
    "*",
    "[a-z]",
]


@pytest.fixture
def client(sqlite_store: SqlStore) -> Iterator[TestClient]:
    with TestClient(create_app(sqlite_store, TOKEN), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret ", "Basic czNjcmV0", "Bearer ü"]
)
def test_without_the_token_nothing_is_told(client: TestClient, given: str | None) -> None:
    headers = {} if given is None else {b"Authorization": given.encode("latin-1")}
    client.headers.pop("Authorization")
    for method, path in [("GET", "/stats"), ("PUT", "/memories/a/b"), ("DELETE", "/memories/a/b")]:
        answer = client.request(method, path, headers=headers, json={"value": 1} if method == "PUT" else None)
        assert answer.status_code == 401
        assert TOKEN not in answer.text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data(sqlite_store: SqlStore, text: str) -> None:
    sqlite_store.put("other", "theirs", "secret")
    sqlite_store.put("mine", text, text)
    found = sqlite_store.get("mine", text)
    assert found is not None
    assert found.value == text
    assert "theirs" not in [memory.key for memory in sqlite_store.find("mine", text)]
    assert sqlite_store.stats().memories == 2


@pytest.mark.parametrize(
    "path", ["/memories/..%2f..%2fetc/passwd", "/memories/a:b/c", "/memories/a%00/c", "/memories/a/b%0d%0ac"]
)
def test_names_that_would_lead_elsewhere_are_refused(client: TestClient, path: str) -> None:
    assert client.put(path, json={"value": 1}).status_code in {404, 405, 422}


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    assert client.put("/memories/a/b", json={"value": "x" * BODY_LIMIT}).status_code == 413


def test_errors_of_the_store_do_not_tell_about_it(client: TestClient, sqlite_store: SqlStore) -> None:
    with sqlite_store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE memory")
    answer = client.get("/stats")
    assert (answer.status_code, answer.json()) == (503, {"detail": "the store can't be used"})


def test_unknown_fields_are_refused(client: TestClient) -> None:
    assert client.put("/memories/a/b", json={"value": 1, "admin": True}).status_code == 422


def test_real_secrets_are_out_of_reach(fake_secrets: dict[str, str]) -> None:
    assert all(value.startswith("fake-") for value in fake_secrets.values())
