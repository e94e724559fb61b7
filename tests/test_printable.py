"""What others wrote, where it is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from qedeploy.files import json_text
from qedeploy.printable import one_line, plain_label, printable, shortened
from qedeploy.screen import line, screen, working

ANYTHING = st.text(st.characters(codec=None))


def is_safe(text: str) -> bool:
    return not any(
        (ord(character) < 32 and character not in "\n\t")
        or 0x7F <= ord(character) < 0xA0
        or 0xD800 <= ord(character) < 0xE000
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        for character in text
    )


@given(ANYTHING)
def test_nothing_that_a_terminal_obeys_gets_through(text):
    assert is_safe(printable(text))
    assert is_safe(one_line(text))
    assert "\n" not in one_line(text)
    printable(text).encode()


@pytest.mark.parametrize("text", ["", "stage1.block1.expand", "Größe 網路.pth", "a\tb\nc", "👩‍🔬 $x$ [/red]"])
def test_text_without_harm_stays_as_it_is(text):
    assert printable(text) == text


NAMES = ["[/red]", "[bold]x", "a\x1b[31mb", "\x9b31m", "\udcff\ud800", ":smile:", "x" * 300, "a\x00b\rc\x07", "\\[red]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_and_not_obeyed(name, capsys):
    console = screen(width=400)
    table = Table("name", title=name)
    table.add_row(name)
    table.add_row(Text(name))
    for shown in (name, Text(name), line(name), table, Panel(Text(name))):
        console.print(shown)
    out = capsys.readouterr().out
    assert is_safe(out)
    # Rich itself leaves some controls out of what comes as Text.
    assert out.count(printable(name)) == (4 if "\r" in name else 7)


def test_a_spinner_takes_names_too(capsys):
    with working(screen(width=100)) as say:
        say("measuring [/red] \x1b[2J")
    assert is_safe(capsys.readouterr().out)


@given(st.dictionaries(ANYTHING, st.one_of(ANYTHING, st.integers(), st.lists(ANYTHING))))
def test_json_keeps_every_character_and_shows_none_that_harms(document):
    text = json_text(document)
    assert is_safe(text)
    assert json.loads(text.encode()) == document


@pytest.mark.parametrize("name", [r"$\frac{$", "$x$", "a $ b", r"\$", "$$", r"\$x$"])
def test_matplotlib_sets_dollars_as_dollars(name):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0.5, 0.5, plain_label(name))
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        import io

        stream = io.StringIO()
        figure.savefig(stream, format="svg")
    assert name in stream.getvalue()


def test_a_long_name_keeps_both_ends():
    assert shortened("short") == "short"
    found = shortened("a" * 200 + "b" * 100, 11)
    assert found == "aaaaa\N{HORIZONTAL ELLIPSIS}bbbbb"
