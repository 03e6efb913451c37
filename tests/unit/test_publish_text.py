"""Any text in: valid XML, inert Markdown, inert HTML, one workflow command out."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from thebes.publish import text as escape

# Everything that means something somewhere, so that it is not left to chance.
SPECIAL = [
    *"&<>\"'`|\\*_#@~$[](){}:%,;!\n\r\t\x00\x07\x08\x1b\x7f\x85\x9b\u202e\u2028\ufeff\ud800",
    *(
        "]]>",
        "<!--",
        "-->",
        "</pre>",
        "</details>",
        "<script>alert(1)</script>",
        "::error::",
        "\n::error::",
        "##[group]",
    ),
    *(
        "```",
        "\n\n",
        "\x1b[31m",
        "\x1b]8;;http://x\x07",
        "&#64;",
        "@octocat",
        "https://example.com",
        "](x)",
        "- [ ] ",
    ),
]
hostile = st.lists(st.one_of(st.sampled_from(SPECIAL), st.text(max_size=8)), max_size=12).map("".join)
surrogates = st.text(st.characters(exclude_categories=()), max_size=20)
anything = st.one_of(hostile, surrogates)


@given(anything)
def test_xml_carries_any_text(text: str) -> None:
    root = ET.fromstring(f'<a b="{escape.xml_attribute(text)}">{escape.xml_text(text)}</a>')  # noqa: S314
    wanted = "".join(c if _fits_xml(c) else f"#x{ord(c):02X}" for c in text)
    assert (root.get("b"), root.text or "") == (wanted, wanted)


def _fits_xml(character: str) -> bool:
    """Of XML 1.0, production 2, less what its note discourages in the first two planes."""
    code = ord(character)
    return (
        code in {0x09, 0x0A, 0x0D, 0x85}
        or 0x20 <= code <= 0x7E
        or 0xA0 <= code <= 0xD7FF
        or (0xE000 <= code <= 0xFFFD and not 0xFDD0 <= code <= 0xFDEF)
        or code > 0xFFFF
    )


@given(anything)
def test_plain_has_no_unseen_characters_and_can_be_encoded(text: str) -> None:
    plain = escape.plain(text)
    plain.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]", plain)


@given(anything)
def test_html_has_no_tags_and_shows_the_text(text: str) -> None:
    parser = _Text()
    parser.feed(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    parser.close()
    assert parser.tags == ["p"]
    assert parser.text == escape.plain(text) == parser.title


@given(anything)
@example("`")
@example("``` a `")
@example(" ` ")
def test_code_span_is_only_code(text: str) -> None:
    rendered = MarkdownIt("commonmark").parseInline(f"x {escape.code_span(text)} y")[0].children or []
    assert [token.type for token in rendered] == ["text", "code_inline", "text"]
    assert rendered[1].content == (escape.one_line(text) or "(empty)")


@given(anything)
def test_code_block_is_only_code(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(f"- a\n\n{escape.code_block(text)}\nend\n")
    assert [token.type for token in tokens if token.type in {"fence", "html_block"}] == ["fence"]
    fence = next(token for token in tokens if token.type == "fence")
    assert fence.content.strip("\n") == escape.plain(text).strip("\n")
    assert tokens[-2].content == "end"


@given(anything, anything)
def test_workflow_command_is_one_line_with_one_title(title: str, message: str) -> None:
    command = f"::error title={escape.command_property(title)}::{escape.command_data(message)}"
    assert len(command.splitlines()) == 1
    head, _, data = command.removeprefix("::").partition("::")
    assert head.count("=") == 1 + title.count("=")
    assert "," not in head
    assert _decoded(data) == escape.plain(message)
    assert _decoded(head.partition("=")[2]) == escape.plain(title)


@given(anything)
def test_terminal_line_commands_nothing(text: str) -> None:
    line = escape.terminal_line(text)
    assert len(line.splitlines()) <= 1
    assert not line.startswith("::")
    assert "##[" not in line
    assert "\x1b" not in line


@given(hostile, st.integers(20, 60))
def test_shortened_keeps_beginning_and_end(text: str, limit: int) -> None:
    short = escape.shortened(text, limit)
    assert len(short) <= limit + 50
    assert short[:1] == text[:1]
    assert short[-1:] == text[-1:]


@pytest.mark.parametrize("part", ["\x1b[", "\x1b]", "\x9b", "`", "\x1b]8;;", "\r", "<", "\x00"])
def test_long_lines_take_no_time(part: str) -> None:
    text = part * 50_000
    for function in (escape.plain, escape.html, escape.xml_text, escape.code_block, escape.command_data):
        function(text)


def _decoded(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.title: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.title = dict(attrs).get("title") or ""

    def handle_data(self, data: str) -> None:
        self.text += data
