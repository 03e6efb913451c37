"""Tools' own output, as findings; and what findings make of a verdict. The samples are what the tools really print."""

import json
from pathlib import Path

import pytest

from support.project import Project
from thebes.checks import adapt, failing
from thebes.checks.adapt import TOOLS
from thebes.model import Finding

SARIF = json.dumps(
    {
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "t"}},
                "results": [
                    {
                        "ruleId": "R1",
                        "level": "error",
                        "message": {"text": "bad"},
                        "locations": [
                            {"physicalLocation": {"artifactLocation": {"uri": "src/a.py"}, "region": {"startLine": 3}}}
                        ],
                    }
                ],
            }
        ],
    }
)
MYPY = """src/a.py:3: error: Argument 1 to "f" has incompatible type "int"  [arg-type]
src/a.py:3: note: See https://example.org:80/
src/b.py:4:1: error: Name "x" is not defined
Found 2 errors in 2 files (checked 2 source files)
"""
PYRIGHT = {
    "generalDiagnostics": [
        {
            "file": "/work/src/a.py",
            "severity": "error",
            "message": "Argument of\n  two lines",
            "range": {"start": {"line": 2, "character": 20}, "end": {"line": 2, "character": 21}},
            "rule": "reportArgumentType",
        },
        {"file": "/work/src/a.py", "severity": "information", "message": "Import", "range": {}},
    ]
}
BANDIT = {
    "results": [
        {"filename": "./src/a.py", "line_number": 3, "test_id": "B602", "issue_severity": "HIGH", "issue_text": "shell"}
    ]
}
PIP_AUDIT = {
    "dependencies": [
        {"name": "sound", "version": "1", "vulns": []},
        {"name": "old", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "description": "hole"}]},
        {"name": "local", "skip_reason": "not on PyPI"},
    ]
}
RUFF = [{"filename": "/work/src/a.py", "location": {"row": 1, "column": 8}, "code": "F401", "message": "unused"}]
FORMAT = "unformatted: File would be reformatted\n  --> src/a.py:2:1\n  |\n\nWould reformat: src/b.py\n2 files would be"
SECRETS = 'a line before\n{\n  "results": {"src/a.py": [{"type": "AWS Access Key", "line_number": 5}]}\n}\n'
ACTIONLINT = '.github/workflows/w.yml:7:23: "x" is untrusted [expression]\n  |\n7 |   - run: echo ${{ x }}\n'


def finding(file: str, line: int, rule: str, severity: str, text: str) -> Finding:
    return Finding(file=file, line=line, rule=rule, severity=severity, text=text)


CASES = [
    ("ruff check .", 1, json.dumps(RUFF), [finding("src/a.py", 1, "F401", "error", "unused")]),
    (
        "ruff format --check",
        1,
        FORMAT,
        [
            finding("src/a.py", 0, "format", "error", "is not formatted"),
            finding("src/b.py", 0, "format", "error", "is not formatted"),
        ],
    ),
    (
        "mypy",
        1,
        MYPY,
        [
            finding("src/a.py", 3, "arg-type", "error", 'Argument 1 to "f" has incompatible type "int"'),
            finding("src/a.py", 3, "mypy", "note", "See https://example.org:80/"),
            finding("src/b.py", 4, "mypy", "error", 'Name "x" is not defined'),
        ],
    ),
    (
        "pyright src",
        1,
        json.dumps(PYRIGHT),
        [
            finding("src/a.py", 3, "reportArgumentType", "error", "Argument of\n  two lines"),
            finding("src/a.py", 0, "pyright", "note", "Import"),
        ],
    ),
    ("bandit -r .", 1, json.dumps(BANDIT), [finding("src/a.py", 3, "B602", "error", "shell")]),
    ("pip-audit", 1, json.dumps(PIP_AUDIT), [finding("", 0, "PYSEC-1", "error", "old 1; fixed in 2: hole")]),
    ("detect-secrets scan", 0, SECRETS, [finding("src/a.py", 5, "AWS Access Key", "error", "looks like a secret")]),
    ("gitleaks dir .", 1, SARIF, [finding("src/a.py", 3, "R1", "error", "bad")]),
    (
        "zizmor .",
        0,
        "INFO: x\n" + SARIF.replace('{"version"', '\n{"version"'),
        [finding("src/a.py", 3, "R1", "error", "bad")],
    ),
    ("actionlint", 1, ACTIONLINT, [finding(".github/workflows/w.yml", 7, "expression", "error", '"x" is untrusted')]),
    ("ansible-lint", 2, SARIF, [finding("src/a.py", 3, "R1", "error", "bad")]),
    ("semgrep scan --sarif -o {sarif}", 0, SARIF, [finding("src/a.py", 3, "R1", "error", "bad")]),
]


def found(folder: Path, command: str, exit_code: int, text: str) -> tuple[list[Finding], str]:
    adapted = adapt(command.split(), folder)
    place = adapted.report or folder / "output.log"
    place.write_text(text, "utf-8")
    result = failing(adapted, exit_code, folder / "output.log", Path("/work"))
    return result.findings, result.code


@pytest.mark.parametrize(("command", "exit_code", "text", "expected"), CASES, ids=lambda value: str(value)[:20])
def test_findings(tmp_path: Path, command: str, exit_code: int, text: str, expected: list[Finding]) -> None:
    assert found(tmp_path, command, exit_code, text) == (expected, "check-findings")
    wrapped = f"uv run {command}"
    assert found(tmp_path, wrapped, exit_code, text) == (expected, "check-findings")


def test_every_tool_has_a_case_and_a_row_in_the_documentation() -> None:
    document = (Path(__file__).parents[2] / "docs" / "checks.md").read_text("utf-8")
    for name, tools in TOOLS.items():
        assert f"`{name}" in document
        assert name == "basedpyright" or sum(case[0].startswith(name) for case in CASES) == len(tools)


@pytest.mark.parametrize(
    ("command", "exit_code", "text", "code"),
    [
        ("mypy", 0, "Success: no issues found\n", ""),
        ("mypy", 1, "something that is not understood", ""),  # then the exit code stands alone
        ("mypy", 127, "no such option", "check-broken"),
        ("bandit -r .", 2, "", "check-broken"),
        ("gitleaks dir .", 0, "{", "check-broken"),
        ("gitleaks dir .", 0, '{"runs": "x"}', "check-broken"),
        ("detect-secrets scan", 0, "nothing", "check-broken"),
        ("ruff check .", 1, '[{"filename": 3, "location": [], "code": null, "message": {"a": "b"}}]', "check-findings"),
        ("unknown", 1, "whatever", ""),
        ("bandit -f txt .", 1, "whatever", ""),
    ],
)
def test_what_is_not_clean_and_no_finding(tmp_path: Path, command: str, exit_code: int, text: str, code: str) -> None:
    assert found(tmp_path, command, exit_code, text)[1] == code


def test_a_report_that_was_never_written_is_broken(tmp_path: Path) -> None:
    adapted = adapt(["pip-audit"], tmp_path)
    assert failing(adapted, 1, tmp_path / "output.log", tmp_path).code == "check-broken"


SETTINGS = """
    [tool.thebes.gates.quality]
    checks = ["ruff check --isolated .", "mypy --no-incremental bad.py", "ruff format --isolated --check good.py"]
"""
BASELINE = """
    [[tool.thebes.baseline]]
    rule = "{rule}"
    file = "*.py"
    owner = "ann"
    expires = {expires}
"""


def test_real_tools_and_the_baseline(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": SETTINGS,
            "bad.py": "import os\n\nx: int = 'a'\n",
            "good.py": "x = 1\n",
            "tests/test_a.py": "def test_a():\n    pass\n",
        }
    )
    base = project.commit()
    assert project.run().exit == 1
    assert project.reasons() == {
        "check-findings": [
            (
                'bad.py:3: assignment: Incompatible types in assignment (expression has type "str", '
                'variable has type "int")'
            ),
            "bad.py:1: F401: `os` imported but unused",
        ]
    }
    known = SETTINGS + "".join(BASELINE.format(rule=rule, expires="2999-01-01") for rule in ("F401", "assignment"))
    project.write({"pyproject.toml": known})
    assert project.run().exit == 0
    assert set(project.reasons()) == {"findings-known"}
    assert project.run("--base", base).exit == 1  # what a change accepts holds once it is merged
    project.write({"pyproject.toml": known.replace("2999", "2020")})
    assert project.run().exit == 1
    assert {notice["code"] for notice in project.verdict()["notices"]} == {"baseline-expired"}
