"""The one way to the terminal: what users named is shown as it is, neither read as markup nor obeyed as control codes.

Styles of our own are given as `Text` or as `style=`; square brackets in strings are square brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from qedeploy.printable import one_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress


class Screen(Console):
    """A console without markup, emoji codes and highlighting, whose text holds nothing that a terminal obeys."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text; strings in tables come through here too, so that their width is what is shown."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of anything that can be shown; what came as `Text` is made safe here."""
        for segment in super().render(renderable, options):
            safe = segment.text if segment.control else printable(segment.text)
            yield segment if safe == segment.text else Segment(safe, segment.style)

    def on_broken_pipe(self) -> None:
        """Let the command line end the process: Rich would do so with 1, the code of a failed export."""
        raise BrokenPipeError


def screen(*, stderr: bool = False, width: int | None = None, quiet: bool = False) -> Screen:
    """Return the console on standard output, or standard error; `width` in characters where nobody else says."""
    return Screen(stderr=stderr, width=width, quiet=quiet, markup=False, highlight=False, emoji=False)


def line(text: str) -> Text:
    """Return text on one line, whatever was in it."""
    return Text(one_line(text))


def warning_line(text: str) -> Text:
    """Return a warning on one line."""
    return Text.assemble(("warning: ", "yellow"), one_line(text))


def bars(console: Console) -> Progress:
    """Return bars for a terminal, whose descriptions are shown as they are; into a file or a pipe there are none."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    description = TextColumn("{task.description}", style="progress.description", markup=False)
    columns = (description, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def working(console: Console) -> Iterator[Callable[[str], None]]:
    """Show a spinner while the block runs; what is yielded puts a text beside it."""
    with console.status(Text("")) as status:
        # A string would be read as markup.
        yield lambda text: status.update(line(text))
