"""The reference consumer: all seven gates on a machine without Docker and without servers."""

import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from support.project import REPOSITORY, Project
from thebes.model import GATES

SOURCE = REPOSITORY / "tests" / "workloads" / "agent_memory"
PYTHON = REPOSITORY / ".venv-agent-memory" / "bin" / "python"
# What a machine may have installed is left out: only the wheels serve.
BARE = """
[tool.thebes.services.postgres]
sources = ["embedded"]
[tool.thebes.services.redis]
sources = ["embedded"]
"""


@pytest.fixture
def consumer(tmp_path: Path) -> Project:
    shutil.copytree(SOURCE, tmp_path / "c", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    project = Project(tmp_path / "c")
    with (project.root / "pyproject.toml").open("a") as file:
        file.write(BARE)
    project.commit()
    return project


def test_all_seven_gates_hold(consumer: Project) -> None:
    folder = Path(tempfile.mkdtemp(prefix="thebes-test-"))
    folder.chmod(0o711)
    environment = {"TMPDIR": str(folder), "VIRTUAL_ENV": str(PYTHON.parents[1])}
    done = consumer.run("--shards", "1", env=environment, timeout=900)
    assert done.exit == 0, done.stdout + done.stderr
    gates = consumer.verdict()["gates"]
    assert {name: gate["verdict"] for name, gate in gates.items()} == dict.fromkeys(GATES, "PASS")
    assert [reason["text"] for reason in gates["performance"]["reasons"] if "regression" in reason["code"]] == [
        "no regression judgement"
    ]
    assert len([used for used in consumer.reasons()["service-used"] if "(embedded: " in used]) == 5
    measured = [test for (test,) in consumer.query("SELECT id FROM benchmark ORDER BY id")]
    assert measured == sorted(test for test in consumer.outcomes() if test.startswith("tests/performance/"))
    files = Counter(test.partition("::")[0] for test in consumer.outcomes())
    assert files["tests/integration/test_postgres.py"] >= 30
    assert files["tests/integration/test_redis.py"] >= 35
    assert files["tests/integration/test_agents.py"] >= 15
    assert set(consumer.outcomes().values()) == {"passed"}, "nothing is skipped"
    operations = {match[1] for test in consumer.outcomes() if (match := re.search(r"test_operation\[(.+)\]", test))}
    documented = json.loads(
        consumer.command(
            str(PYTHON), "-c", "import json, agent_memory.api as a; print(json.dumps(a.create_app(None, '').openapi()))"
        ).stdout
    )["paths"]
    assert operations == {f"{method.upper()} {path}" for path, found in documented.items() for method in found}
    assert not [path for base in folder.glob("thebes-services-*") for path in base.iterdir()]
    shutil.rmtree(folder)
