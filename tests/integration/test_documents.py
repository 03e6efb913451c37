"""Every `thebes` command that a document shows is run, in the order of the document, and every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from support.project import REPOSITORY, Project

DOCUMENTS = sorted([REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").glob("*.md")])
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)")


def commands(document: Path) -> list[list[str]]:
    blocks = FENCE.findall(document.read_text("utf-8"))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words and words[0] == "thebes"]


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if commands(path)], ids=lambda path: path.name)
def test_the_commands_of_a_document_work(project: Project, document: Path) -> None:
    project.write(
        {
            "tests/unit/test_a.py": "def test_one(): pass\ndef test_two(): pass\n",
            "tests/unit/test_b.py": "def test_three(): pass\n",
            ".test_durations": '{"tests/unit/test_a.py::test_one": 1.5}',
            "backend/tests/test_c.py": "def test_four(): pass\n",
        }
    )
    project.commit()
    for command in commands(document):
        done = project.thebes(*command[1:])
        assert done.exit == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text("utf-8")) if not (document.parent / link).exists()]
    assert not missing


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\S+)", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
