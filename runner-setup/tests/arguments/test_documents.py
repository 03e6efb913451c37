"""The tests that the security page names exist, and the pages of the roles are of their settings."""

from __future__ import annotations

import re
from pathlib import Path

from make_readmes import ROLES, readme

ROOT = Path(__file__).resolve().parents[2]


def test_each_roles_page_is_that_of_its_settings() -> None:
    for role in ROLES.iterdir():
        assert (role / "README.md").read_text() == readme(role.name), "run tests/arguments/make_readmes.py"


def test_every_claim_names_tests_that_exist() -> None:
    page = (ROOT.parent / "docs" / "runner-security.md").read_text()
    tests = "".join(path.read_text() for kind in ("host", "unit") for path in (ROOT / "tests" / kind).glob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", page) if f"def {name}(" not in tests] == []
    rows = [
        line for line in page.partition("## Can't")[2].partition("## Can\n")[0].splitlines() if line.startswith("| ")
    ]
    assert len(rows) > 10
    for row in rows[1:]:
        assert re.search(r"`test_\w+`", row), row
