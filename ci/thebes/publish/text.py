"""Makes text of unknown origin harmless for the places it is shown in. Test names and output are hostile.

Every function takes any `str`, lone surrogates included, and returns text that can be encoded as UTF-8.
"""

import re
from collections.abc import Sequence

# Colours and other terminal sequences: CSI, OSC (ended or not), two-character escapes.
_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-Z\\-~]")

# Characters that are not seen but change what is: controls, direction marks, line separators, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0e\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)

# What XML 1.0 forbids or discourages, as pytest's own writer has it.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

# Chains of `replace` are several times as fast as `translate` on long text.
_XML_TEXT = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))
_XML_ATTRIBUTE = (*_XML_TEXT, ('"', "&quot;"), ("\t", "&#9;"), ("\n", "&#10;"))
_HTML = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;"))
_HARMLESS = re.compile(r"[\w ./:,;()\[\]+=|~@!-]*", re.ASCII)
_BACKTICKS = re.compile("`+")


def plain(text: str) -> str:
    """`text` without terminal sequences; what can't be seen is spelt out, except line feeds and tabs."""
    if "\x1b" in text or "\x9b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub(_spell, text)


def one_line(text: str, limit: int = 300) -> str:
    """`plain` in one line of at most `limit` characters."""
    text = plain(text[: 4 * limit + 1000]).strip().replace("\n", "⏎").replace("\t", " ")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shortened(text: str, limit: int) -> str:
    """About `limit` characters of whole lines: a quarter from the beginning, the rest from the end."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 4], text[-(limit - limit // 4) :]
    head, tail = head.rpartition("\n")[0] or head, tail.partition("\n")[2] or tail
    return f"{head}\n… {len(text) - len(head) - len(tail)} characters left out …\n{tail}"


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def is_harmless(text: str) -> bool:
    """Needs no escaping in XML, and is seen at once: letters, digits and the usual signs, in ASCII."""
    return _HARMLESS.fullmatch(text) is not None


def xml_attribute(text: str) -> str:
    """For the inside of a double-quoted attribute; what XML can't carry becomes `#x1B`, as pytest has it."""
    if is_harmless(text):
        return text
    return _replaced(_NOT_XML.sub(_hexadecimal, text), _XML_ATTRIBUTE)


def xml_text(text: str) -> str:
    """For the text of an element; `]]>` can't appear because `>` is escaped."""
    return _replaced(_NOT_XML.sub(_hexadecimal, text), _XML_TEXT)


def _replaced(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _hexadecimal(match: re.Match[str]) -> str:
    return f"#x{ord(match[0]):02X}"


def html(text: str) -> str:
    """For HTML text and quoted attributes."""
    return _replaced(plain(text), _HTML)


def code_span(text: str, limit: int = 300) -> str:
    """Markdown in which `text` is inert: one line of code. In a code span nothing is a link, mention or tag.

    Not for tables, whose cells end at a pipe even inside of code.
    """
    line = one_line(text, limit) or "(empty)"
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if "`" in (line[0], line[-1]) else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def code_block(text: str, language: str = "text") -> str:
    """A fenced Markdown block in which `text` is inert, ending with a line feed."""
    body = plain(text).strip("\n")
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}\n"


def _longest_run(text: str) -> int:
    return max(map(len, _BACKTICKS.findall(text)), default=0)


def command_data(text: str) -> str:
    """The message of a GitHub workflow command: one line, whatever `text` is."""
    return plain(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """The value of a property of a GitHub workflow command."""
    return command_data(text).replace(":", "%3A").replace(",", "%2C")


def terminal_line(text: str, limit: int = 300) -> str:
    """One line that neither a terminal nor GitHub's log takes for a command."""
    line = one_line(text, limit).replace("##[", "## [")
    return f"·{line}" if line.startswith("::") else line
