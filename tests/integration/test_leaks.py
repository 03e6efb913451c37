"""What tests leave behind: told with the name of the test that did it, and of no other."""

import re
from pathlib import Path

import pytest

from support.project import Project

LEAKS = """
    import asyncio, os, pytest, socket, subprocess, sys, tempfile, threading
    kept = []
    def test_before(): pass
    def test_thread():
        threading.Thread(target=threading.Event().wait, name="consumer", daemon=True).start()
    def test_loop(): kept.append(asyncio.new_event_loop())
    def test_process():
        kept.append(subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"]))
    def test_descriptor(): kept.append(open(__file__))
    def test_socket():
        server = socket.create_server(("127.0.0.1", 0))
        kept.append(server)
    def test_file(): kept.append(tempfile.mkstemp()[1])
    def test_folder():
        name = tempfile.mkdtemp(suffix="kept")
        open(os.path.join(name, "inside"), "w").close()
    def test_variable(monkeypatch):
        monkeypatch.setenv("PUT_BACK", "1")
        os.environ["API_TOKEN"] = "very secret"
    def test_working_directory(tmp_path): os.chdir(tmp_path)
    @pytest.fixture(scope="module")
    def loop():
        loop = asyncio.new_event_loop()
        yield loop
        for task in asyncio.all_tasks(loop): task.cancel()
    def test_task(loop):
        async def begin(): kept.append(asyncio.create_task(for_ever()))
        loop.run_until_complete(begin())
    async def for_ever(): await asyncio.Event().wait()
    def test_after(): pass
"""
EXPECTED = {
    "test_thread": {"thread consumer, a daemon"},
    "test_loop": {"event loop that was not closed"},
    "test_process": {"process N: "},
    "test_descriptor": {"descriptor N of "},
    "test_socket": {"socket that listens at N.N.N.N:N"},
    "test_file": {"descriptor N of ", "temporary file "},
    "test_folder": {"temporary folder "},
    "test_variable": {"environment variable API_TOKEN set"},
    "test_working_directory": {"working directory "},
    "test_task": {"asyncio task Task-N of for_ever"},
}
# Nothing of this is a leak of a test.
INNOCENT = """
    import asyncio, concurrent.futures, os, pytest, socket, subprocess, sys, tempfile, threading

    def setup_module():
        os.environ["OF_MODULE"] = "1"

    def teardown_module():
        del os.environ["OF_MODULE"]

    @pytest.fixture(scope="session", autouse=True)
    def server():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=listening.accept, daemon=True)
            thread.start()
            with tempfile.TemporaryDirectory():
                yield listening.getsockname()
            socket.create_connection(listening.getsockname()).close()
            thread.join()

    class Pool:
        def __init__(self, address):
            self.address, self.open = address, []
        def take(self):
            self.open = self.open or [socket.create_connection(self.address)]

    @pytest.fixture(scope="module")
    def pool(server):
        with socket.create_server(("127.0.0.1", 0)) as own:
            pool = Pool(own.getsockname())
            yield pool
            [one.close() for one in pool.open]

    def test_opens_a_connection_of_the_pool(pool): pool.take()

    def test_uses_it_again(pool): pool.take()

    @pytest.fixture
    def opened(tmp_path):
        return open(tmp_path / "some", "w")

    def test_fixture_that_does_not_close(opened): opened.write("some")

    def test_threads_that_are_about_to_end():
        pool = concurrent.futures.ThreadPoolExecutor(4)
        for _ in range(4): pool.submit(threading.Event().wait, 0.05)
        pool.shutdown(wait=False)

    def test_process_that_is_about_to_end():
        subprocess.Popen([sys.executable, "-c", "pass"]).terminate()

    def test_loop():
        asyncio.run(asyncio.sleep(0))

    def test_captures(capfd):
        subprocess.run([sys.executable, "-c", "print(1)"])
        assert capfd.readouterr().out

    def test_fails(server):
        connection = socket.create_connection(server)
        assert connection is None

    def test_changes_back(monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        with tempfile.NamedTemporaryFile() as file: file.write(b"1")
"""
QUIET = ("-p", "no:randomly", "-W", "ignore", "--dist", "loadfile")


def told(project: Project) -> dict[str, set[str]]:
    """What each test left, by its own name: words without numbers, up to the first path."""
    found: dict[str, set[str]] = {}
    for test, text in project.query("SELECT id, text FROM leak"):
        words = re.sub(r"\d+", "N", text.partition("/")[0])
        found.setdefault(test.partition("::")[2], set()).add(words)
    return found


@pytest.mark.parametrize(("workers", "leaks"), [("0", "report"), ("2", "fail")])
def test_each_leak_has_the_name_of_its_test(project: Project, workers: str, leaks: str, tmp_path: Path) -> None:
    project.write({"tests/test_leaks.py": LEAKS, "tests/test_innocent.py": INNOCENT})
    options = ("--shards", "1", "--workers", workers, "--leaks", leaks)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    assert project.run(*options, "--", *QUIET, env={"TMPDIR": str(temporary)}).exit == 1
    assert told(project) == EXPECTED
    outcomes = {test.partition("::")[2]: outcome for test, outcome in project.outcomes().items()}
    red = {"test_fails": "failed"} | (dict.fromkeys(EXPECTED, "error") if leaks == "fail" else {})
    assert {test: outcome for test, outcome in outcomes.items() if outcome != "passed"} == red
    assert set(project.reasons()) == {"test-failed", "test-errored" if leaks == "fail" else "test-leaked"}
    assert "very secret" not in "".join(path.read_text("utf-8") for path in project.out.glob("*/record.jsonl"))
    if leaks == "fail":
        rows = project.query("SELECT id, phase, message, attempts FROM phase JOIN test USING (id) WHERE decides")
        messages = {test.partition("::")[2]: (phase, message, number) for test, phase, message, number in rows}
        assert messages["test_thread"] == ("teardown", "left behind: thread consumer, a daemon", 1)
        assert messages["test_task"][1].startswith("left behind: asyncio task")


def test_leaks_by_project_and_gate(project: Project) -> None:
    body = "import os\ndef test_it(): os.environ['LEFT'] = '1'\n"
    project.write(
        {
            "pyproject.toml": """
            [tool.thebes]
            leaks = "fail"
            [tool.thebes.gates.integration]
            leaks = "none"
            """,
            "tests/unit/test_a.py": body,
            "tests/integration/test_b.py": body,
        }
    )
    assert project.run("--shards", "1", "--maxfail", "1", "--jobs", "1").exit == 1
    assert project.outcomes()["tests/unit/test_a.py::test_it"] == "error"
    assert project.run("--shards", "1", "--gate", "integration").exit == 0
    assert project.run("--shards", "1", "--leaks", "none").exit == 0
