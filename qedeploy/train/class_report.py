"""How the answers of a model spread over the classes: a table, and the confusion matrix as SVG, for any page.

Both take their colours from the page that they stand in. No PyTorch is needed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from qedeploy.printable import one_line, printable, shortened

_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN_CLASSES = 100
_NAMED_CLASSES = 30
"""Classes up to which the axes of the matrix carry their names, and its fields their counts."""
_NAME_LENGTH = 18
_CHARACTER = 6.6
_FIELD = 34.0
_SMALLEST_FIELD = 0.6
_WIDEST = 720.0
_GAP = 8.0
_DARK_SHARE = 0.55
"""Share from which a field is so full of colour that its count is written in white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """One class: how many of its `count` images were said to be it, and how many others were as well (`also`)."""

    name: str
    right: int
    count: int
    also: int

    @property
    def share(self) -> float:
        """The share of its images that is right, 0 where there is none."""
        return self.right / max(self.count, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAnswers:
    """What was said of the images of each class: `said` are (class, what it was said to be, images) above zero."""

    classes: tuple[ClassAccuracy, ...]
    said: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, classes: Sequence[ClassAccuracy], confusion: Sequence[Sequence[int]]) -> ClassAnswers:
        """Return the answers of a whole confusion matrix; raises ValueError where it is not of these classes."""
        sizes = {len(classes)} | {len(row) for row in confusion}
        if len(confusion) != len(classes) or len(sizes) > 1:
            raise ValueError(f"expected a matrix of {len(classes)} by {len(classes)} classes")
        said = (
            (row, column, int(images))
            for row, counts in enumerate(confusion)
            for column, images in enumerate(counts)
            if images
        )
        return cls(classes=tuple(classes), said=tuple(said))


def class_section(answers: ClassAnswers) -> str:
    """Return the matrix and the table as HTML, to stand below a heading of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=_shown
    )
    rows = answers.classes
    heading = "Classes"
    if len(rows) > _SHOWN_CLASSES:
        rows = tuple(sorted(rows, key=lambda one: one.share)[:_SHOWN_CLASSES])
        heading = f"The {_SHOWN_CLASSES} worst of {len(answers.classes)} classes"
    return environment.get_template("classes.html").render(rows=rows, heading=heading, matrix=confusion_svg(answers))


def confusion_svg(answers: ClassAnswers) -> str:
    """Return the confusion matrix as an SVG element: rows are the classes, columns what they were said to be."""
    count = len(answers.classes)
    named = count <= _NAMED_CLASSES
    names = [shortened(one_line(one.name), _NAME_LENGTH) for one in answers.classes]
    margin = _CHARACTER * max(map(len, names), default=0) + _GAP if named else 0.0
    field = _FIELD if named else max(_SMALLEST_FIELD, _WIDEST / count)
    left, top, side = margin + 20, 4.0, field * count
    drawn = [
        f'<rect x="{left:.1f}" y="{top}" width="{side:.1f}" height="{side:.1f}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.35"/>'
    ]
    for row, column, images in answers.said:
        one = answers.classes[row]
        part = images / max(one.count, 1)
        told = escape(one_line(f"{images} of {one.count} {one.name} said to be {answers.classes[column].name}"))
        x, y = left + field * column, top + field * row
        drawn.append(
            f'<g><title>{told}</title><rect x="{x:.2f}" y="{y:.2f}" width="{field:.2f}" height="{field:.2f}" '
            f'fill="#2468c4" fill-opacity="{0.08 + 0.92 * part:.3f}"/>'
        )
        if named:
            colour = "#fff" if part > _DARK_SHARE else "currentColor"
            drawn.append(_text(str(images), x + field / 2, y + field / 2 + 4, "middle", colour=colour))
        drawn.append("</g>")
    if named:
        for place, name in enumerate(names):
            middle = field * (place + 0.5)
            drawn.append(_text(name, left - _GAP, top + middle + 4, "end"))
            drawn.append(_text(name, left + middle + 4, top + side + _GAP, "end", turned=-90))
    bottom = top + side + margin
    drawn.append(_text("is", 12, top + side / 2, "middle", turned=-90))
    drawn.append(_text("said to be", left + side / 2, bottom + 16, "middle"))
    width, height = left + side + 4, bottom + 24
    return (
        f'<svg role="img" aria-label="confusion matrix of {count} classes" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="width: 100%; max-width: {width:.0f}px; height: auto">{"".join(drawn)}</svg>'
    )


def _text(text: str, x: float, y: float, anchor: str, *, colour: str = "currentColor", turned: int = 0) -> str:
    place = f'transform="translate({x:.1f} {y:.1f}) rotate({turned})"' if turned else f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {place} text-anchor="{anchor}" style="fill: {colour}; font-size: 12px">{escape(text)}</text>'


def _shown(value: object) -> object:
    """Return what a page may show of a value: names of classes may hold what no page can."""
    return printable(value) if type(value) is str else value
