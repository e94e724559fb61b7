"""The last line of a command: its answer, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

GOOD, BAD, UNSURE, PLAIN = "bold green", "bold red", "bold yellow", "bold"
"""Styles of an answer: as it was wanted, as it was not, one not to rely on, and one that nothing was wanted of."""


def print_verdict(console: Console, text: str, style: str = PLAIN) -> None:
    """Print `text` as one line, however wide the screen: a script finds it as the last one."""
    from rich.text import Text

    from qedeploy.printable import one_line

    console.print(Text(one_line(text), style=style), soft_wrap=True)
