"""CODEOWNERS: the examples of GitHub's documentation, and what it leaves out."""

from pathlib import Path

import pytest

from thebes.publish.codeowners import find, owner, parse

# The example file of GitHub's documentation.
EXAMPLE = """
# This is a comment.
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
/apps/with\\ space/ @spaces
"""


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("a.py", "@global-owner1 @global-owner2"),
        ("deep/down/a.js", "@js-owner"),
        ("a.go", "docs@example.com"),
        ("build/logs/x/y.py", "@octocat"),  # **/logs comes later
        ("build/x.py", "@global-owner1 @global-owner2"),
        ("docs/a.py", "@doctocat"),
        ("x/apps/a.py", "@octocat"),
        ("scripts/a.js", "@doctocat @octocat"),
        ("apps/github", ""),
        ("apps/github/x.py", ""),
        ("apps/githubs/x.py", "@octocat"),
        ("apps/with space/a.py", "@spaces"),
        ("deeply/nested/logs/a.txt", "@octocat"),
    ],
)
def test_the_last_line_that_fits_counts(path: str, owners: str) -> None:
    assert owner(parse(EXAMPLE), path) == owners


def test_a_star_is_one_folder_deep() -> None:
    rules = parse("docs/* @one\n")
    assert owner(rules, "docs/a.md") == "@one"
    assert owner(rules, "docs/build/a.md") == ""


def test_nothing_owns_nothing(tmp_path: Path) -> None:
    assert find(tmp_path) == ""
    assert owner(parse("\n#x\n!a @b\n[section] @c\n"), "a") == ""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/CODEOWNERS").write_bytes(b"* @docs \xff\n")
    assert find(tmp_path).startswith("* @docs")
    (tmp_path / "CODEOWNERS").write_text("* @root\n", "utf-8")
    assert find(tmp_path) == "* @root\n"
