"""The fixtures, in projects of their own, against real servers."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from support.project import Project, Result
from thebes.services import Service, Source, served

CONFTEST = """
import pytest
from pathlib import Path
from sqlalchemy import create_engine, text
pytest_plugins = ["thebes.fixtures"]

@pytest.fixture(scope="session")
def migrate():
    def run(url):
        with Path("migrated").open("a") as file:
            file.write("once\\n")
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        connection = engine.connect()
        connection.execute(text("CREATE TABLE item (name text UNIQUE)"))
        connection.execute(text("INSERT INTO item VALUES ('seed')"))
        connection.commit()
        connection.close()  # its pool stays open, as that of many a migration
        run.engine = engine
    return run
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Variables of a PostgreSQL and a Redis that serve all tests here."""
    folder = Path(tempfile.mkdtemp(prefix="thebes-test-"))
    services = {name: Service(name=name, kind=name, sources=(Source.EMBEDDED,)) for name in ("postgres", "redis")}
    environment = dict(os.environ)
    with served({"postgres": "", "redis": ""}, services, folder, folder, environment, "test", lambda _: None) as up:
        yield up.environment


def pytest_in(project: Project, *arguments: str, env: dict[str, str] | None = None) -> Result:
    return project.command(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *arguments, env=env)


def databases(servers: dict[str, str]) -> list[str]:
    engine = create_engine(servers["THEBES_POSTGRES_URL"].replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT datname FROM pg_database WHERE datname LIKE 'thebes%'")).scalars().all()
    engine.dispose()
    return list(found)


def test_each_worker_has_a_database_and_each_test_a_clean_one(project: Project, servers: dict[str, str]) -> None:
    project.write(
        {
            "conftest.py": CONFTEST,
            "test_db.py": """
            import pytest
            from pathlib import Path
            from sqlalchemy import text
            from sqlalchemy.exc import IntegrityError

            @pytest.mark.parametrize("i", range(12))
            def test_commits_are_taken_back(db_session, i, worker_id):
                names = db_session.execute(text("SELECT name FROM item")).scalars().all()
                assert names == ["seed"]
                db_session.execute(text("INSERT INTO item VALUES ('a')"))
                db_session.commit()
                with pytest.raises(IntegrityError):
                    db_session.execute(text("INSERT INTO item VALUES ('a')"))
                db_session.rollback()
                assert db_session.execute(text("SELECT count(*) FROM item")).scalar_one() == 2
                database = db_session.execute(text("SELECT current_database()")).scalar_one()
                assert database.endswith(worker_id)
                Path(f"used-{database}").touch()

            def test_a_fresh_one_takes_what_no_transaction_can(fresh_db_url, db_url):
                from sqlalchemy import create_engine
                assert fresh_db_url != db_url
                engine = create_engine(fresh_db_url.replace("postgresql:", "postgresql+psycopg:"))
                with engine.connect() as one, engine.connect() as other:
                    one.execute(text("INSERT INTO item VALUES ('seen')"))
                    one.commit()
                    assert other.execute(text("SELECT count(*) FROM item")).scalar_one() == 2
            """,
        }
    )
    done = pytest_in(project, "-n", "2", env=servers)
    assert done.exit == 0, done.stdout
    assert (project.root / "migrated").read_text() == "once\n", "migrations ran once for both workers"
    assert len(list(project.root.glob("used-*"))) == 2
    assert databases(servers) == [], "nothing is left on the server"


def test_a_session_of_asyncio_is_rolled_back_too(project: Project, servers: dict[str, str]) -> None:
    project.write(
        {
            "conftest.py": CONFTEST,
            "test_db.py": """
            import asyncio
            from sqlalchemy import NullPool, text
            from sqlalchemy.ext.asyncio import create_async_engine
            from thebes.fixtures.databases import with_driver
            from thebes.fixtures.sessions import rolled_back_async

            def test_commit(db_url):
                async def twice():
                    engine = create_async_engine(with_driver(db_url), poolclass=NullPool)
                    for _ in range(2):
                        async with rolled_back_async(engine) as session:
                            await session.execute(text("INSERT INTO item VALUES ('a')"))
                            await session.commit()
                            assert (await session.execute(text("SELECT count(*) FROM item"))).scalar_one() == 2
                asyncio.run(twice())
            """,
        }
    )
    done = pytest_in(project, env=servers)
    assert done.exit == 0, done.stdout
    assert databases(servers) == []


def test_redis_spaces_keep_workers_and_strangers_apart(project: Project, servers: dict[str, str]) -> None:
    stranger = Redis.from_url(servers["THEBES_REDIS_URL"].removesuffix("/0") + "/1")
    stranger.set("theirs", "1")
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "test_redis.py": """
            import pytest
            @pytest.mark.parametrize("i", range(10))
            def test_space(redis_client, redis_space, i):
                assert redis_space.number > 1
                assert redis_client.dbsize() == 0
                redis_client.mset({f"key:{n}": n for n in range(1200)})
            """,
        }
    )
    done = pytest_in(project, "-n", "2", env=servers)
    assert done.exit == 0, done.stdout
    assert stranger.get("theirs") == b"1"
    assert stranger.info("keyspace").keys() == {"db1"}, "no key and no claim is left"
    stranger.delete("theirs")
    stranger.close()


def test_what_still_writes_at_the_end_is_an_error(project: Project, servers: dict[str, str]) -> None:
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "test_redis.py": """
            from thebes.fixtures import spaces
            def test_leaves_something(redis_client):
                spaces._first = lambda client: []  # as if somebody wrote again after each look
                redis_client.set("a", 1)
            """,
        }
    )
    done = pytest_in(project, env=servers)
    assert done.exit == 1
    assert "LeftBehindError: 1 keys are left" in done.stdout
    with Redis.from_url(servers["THEBES_REDIS_URL"]) as client:
        client.flushall()  # ours alone: started by this module


def test_without_a_server_there_is_an_error_and_no_skip(project: Project) -> None:
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "test_db.py": "def test_a(db_session): pass\ndef test_b(redis_client): pass\n",
        }
    )
    done = pytest_in(project)
    assert done.exit == 1
    assert "2 errors" in done.stdout
    assert "THEBES_POSTGRES_URL is not set. Run the tests by `thebes run`" in done.stdout


def test_memory_guard_and_secrets(project: Project, servers: dict[str, str]) -> None:
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "pytest.ini": "[pytest]\nusefixtures = network_guard\n",
            "test_guard.py": """
            import os, socket, urllib.request
            import pytest
            from sqlalchemy import text
            from thebes.fixtures import NetworkRefusedError

            def test_memory_is_empty(memory_session):
                memory_session.execute(text("CREATE TABLE a (x)"))
                memory_session.commit()
            def test_memory_is_empty_again(memory_session):
                memory_session.execute(text("CREATE TABLE a (x)"))
                assert memory_session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1

            @pytest.mark.parametrize("url", ["http://example.org/", "http://192.0.2.1/", "http://127.0.0.1:9/"])
            def test_everything_else_is_refused(url):
                with pytest.raises(NetworkRefusedError, match="refused"):
                    urllib.request.urlopen(url)
            def test_nothing_is_sent(network_guard):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, pytest.raises(NetworkRefusedError):
                    s.sendto(b"x", ("192.0.2.1", 53))
            def test_services_are_reached(redis_client):
                assert redis_client.ping()
            def test_secrets(fake_secrets):
                assert os.environ["MY_API_KEY"] == fake_secrets["MY_API_KEY"] == "fake-my_api_key"
                assert os.environ["OPENAI_API_KEY"].startswith("fake-")
                assert "real" not in os.environ.values()
            """,
        }
    )
    done = pytest_in(project, env=servers | {"MY_API_KEY": "real", "DB_PASSWORD": "real"})
    assert done.exit == 0, done.stdout


def test_the_fake_ai_answers_as_scripted_and_else_always_the_same(project: Project) -> None:
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "pytest.ini": "[pytest]\nusefixtures = network_guard\n",
            "test_ai.py": """
            import http.client, json, math, time, urllib.error, urllib.request
            import pytest
            from thebes.fixtures.ai import Reply

            def post(ai, path, **body):
                data = json.dumps(body).encode()
                request = urllib.request.Request(ai.url + path, data, {"Authorization": "Bearer k"})
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return answer.read().decode()
            def chat(ai, text, **more):
                return post(ai, "/chat/completions", model="m", messages=[{"role": "user", "content": text}], **more)
            def content(raw):
                return json.loads(raw)["choices"][0]["message"]["content"]

            def test_the_same_question_gets_the_same_answer(fake_ai):
                first, again, other = (content(chat(fake_ai, text)) for text in ("hello", "hello", "you"))
                assert first == again != other
                assert first == "Answer 8ffea5ca6f9b to: hello"
                assert [r.body["messages"][0]["content"] for r in fake_ai.requests] == ["hello", "hello", "you"]
                assert fake_ai.requests[0].headers["Authorization"] == "Bearer k"
            def test_script(fake_ai):
                fake_ai.script("first")
                fake_ai.fail(429, retry_after=2)
                fake_ai.fail(500, times=2)
                assert content(chat(fake_ai, "a")) == "first"
                seen = []
                for _ in range(3):
                    with pytest.raises(urllib.error.HTTPError) as error:
                        chat(fake_ai, "a")
                    kind = json.load(error.value)["error"]["type"]
                    seen.append((error.value.code, error.value.headers["Retry-After"], kind))
                    error.value.close()
                assert seen == [(429, "2", "rate_limit_error")] + 2 * [(500, None, "server_error")]
                assert fake_ai.left == 0
            def test_delay(fake_ai):
                fake_ai.script(Reply("late", delay=0.2))
                began = time.monotonic()
                assert content(chat(fake_ai, "a")) == "late"
                assert time.monotonic() - began >= 0.2
            def test_stream(fake_ai):
                fake_ai.script("one two three", Reply("one two three", cut=2))
                events = [line[6:] for line in chat(fake_ai, "a", stream=True).splitlines() if line]
                assert events[-1] == "[DONE]"
                pieces = [json.loads(event)["choices"][0] for event in events[:-1]]
                assert "".join(piece["delta"].get("content", "") for piece in pieces) == "one two three"
                assert pieces[-1]["finish_reason"] == "stop"
                assert "[DONE]" not in chat(fake_ai, "a", stream=True)
            def test_embeddings(fake_ai):
                texts = ["red apple", "green apple", "tax law"]
                data = json.loads(post(fake_ai, "/embeddings", input=texts, model="e"))["data"]
                a, b, c = (one["embedding"] for one in data)
                dot = lambda x, y: sum(p * q for p, q in zip(x, y))
                assert math.isclose(dot(a, a), 1)
                assert dot(a, b) > dot(a, c)
            def test_wrong_requests(fake_ai):
                for path, body, code in [("/nothing", {}, 404), ("/chat/completions", {}, 400)]:
                    with pytest.raises(urllib.error.HTTPError) as error:
                        post(fake_ai, path, **body)
                    assert error.value.code == code
                    error.value.close()
            """,
        }
    )
    done = pytest_in(project)
    assert done.exit == 0, done.stdout


def test_nothing_is_imported_before_a_test_wants_it(project: Project) -> None:
    heavy = "{'sqlalchemy', 'redis', 'click', 'msgspec', 'thebes.services'} & sys.modules.keys()"
    project.write(
        {
            "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
            "test_a.py": f"import sys\ndef test_a(): assert not {heavy}\n",
        }
    )
    assert pytest_in(project).exit == 0
    (project.root / "conftest.py").write_text("")
    (project.root / "test_a.py").write_text("import sys\ndef test_a(): assert 'thebes.fixtures' not in sys.modules\n")
    assert pytest_in(project).exit == 0
