"""Text that others wrote, made safe to show: no control sequence and no broken character gets through."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    # Controls but tab and line feed, overrides of writing direction, line and paragraph separators, half characters.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_BREAKS = {"\n": "\\n", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return `text` with everything that a terminal or a page would obey, or choke on, written as an escape.

    >>> print(printable("a\x1b[31mb"))
    a\x1b[31mb
    """
    return _UNSAFE.sub(_escape, text) if _UNSAFE.search(text) else text


def one_line(text: str) -> str:
    """Return `printable` text whose line breaks and tabs are escapes as well: a file's name may hold both."""
    return "".join(_BREAKS.get(character, character) for character in printable(text))


def plain_label(text: str) -> str:
    """Return `text` for a label of matplotlib, which would set what stands between two dollar signs as a formula.

    Longer than a drawing has room for, it lacks its middle.
    """
    return one_line(shortened(text)).replace("$", r"\$")


def shortened(text: str, length: int = 60) -> str:
    """Return `text` with its middle left out where it is longer than `length`: both ends tell names apart."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[head + 1 - length :]}"


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
