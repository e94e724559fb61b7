"""Charts as inline SVG: shapes that take their colours from the page, each with a text that shows on hovering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from qedeploy.printable import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What stands for one thing in a chart: where it is, its `kind` for colour and filter, its hover `text`.

    `line` is a second value that is drawn across a column.
    """

    kind: str
    text: str
    x: float = 0.0
    y: float
    line: float | None = None


_SCATTER = (480, 360)
_COLUMNS = (1040, 300)
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 12, 48
_MOST_LABELS = 26
_CHARACTER = 6.6
"""Mean width of a character of the small labels, in the charts' units."""


def scatter(marks: Sequence[Mark], x_title: str, y_title: str, label: str) -> str:
    """Return a dot for each of `marks`, x and y positive and both axes logarithmic."""
    width, height = _SCATTER
    x_low, x_high = _decades([mark.x for mark in marks])
    y_low, y_high = _decades([mark.y for mark in marks])

    def across(value: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * _part(value, x_low, x_high)

    def up(value: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * _part(value, y_low, y_high)

    drawn = [_grid_line(up(tick), f"{tick:g}", width) for tick in _log_ticks(y_low, y_high)]
    drawn += [
        f'<text class="tick" x="{across(tick):.1f}" y="{height - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in _log_ticks(x_low, x_high)
    ]
    drawn += [
        f'<circle class="mark" data-kind="{escape(mark.kind)}" cx="{across(mark.x):.1f}" cy="{up(mark.y):.1f}" r="5">'
        f"<title>{_safe(mark.text)}</title></circle>"
        for mark in marks
    ]
    drawn.append(
        f'<text class="axis" x="{(width + _LEFT) / 2:.0f}" y="{height - 8}" text-anchor="middle">'
        f"{_safe(x_title)}</text>"
    )
    return _svg(drawn, _SCATTER, y_title, label)


def columns(marks: Sequence[Mark], groups: Sequence[tuple[float, str]], y_title: str, label: str) -> str:
    """Return a column from zero for each of `marks` in a row; `groups` are names below the places of their middles."""
    width, height = _COLUMNS
    highest = max([mark.y for mark in marks] + [mark.line or 0.0 for mark in marks], default=0.0) or 1.0
    pitch = (width - _LEFT - _RIGHT) / max(len(marks), 1)

    def up(value: float) -> float:
        return height - _BOTTOM - (height - _TOP - _BOTTOM) * value / (highest * 1.04)

    drawn = [_grid_line(up(tick), f"{tick:,.6g}", width) for tick in _ticks(highest)]
    for place, mark in enumerate(marks):
        left, top, across = _LEFT + pitch * (place + 0.1), up(mark.y), pitch * 0.8
        title = f"<title>{_safe(mark.text)}</title>"
        drawn.append(
            f'<g class="mark" data-kind="{escape(mark.kind)}">{title}'
            f'<rect class="reach" x="{left:.1f}" y="{_TOP}" width="{across:.1f}" height="{height - _TOP - _BOTTOM}"/>'
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{across:.1f}" height="{height - _BOTTOM - top:.1f}"/>'
            + ("" if mark.line is None else _across(left - pitch * 0.05, pitch * 0.9, up(mark.line)))
            + "</g>"
        )
    drawn += _names(groups, pitch, height)
    return _svg(drawn, _COLUMNS, y_title, label)


def _names(groups: Sequence[tuple[float, str]], pitch: float, height: int) -> list[str]:
    """Return the names below columns; those that would run into the one before are left to hovering."""
    drawn, end = [], 0.0
    for place, name in groups:
        shown = name if len(name) <= _MOST_LABELS else f"{name[: _MOST_LABELS - 2]}.."
        middle, half = _LEFT + pitch * (place + 0.5), len(shown) * _CHARACTER / 2
        middle = min(middle, _COLUMNS[0] - half)
        row = 0 if middle - half > end else 15
        if row == 0:
            end = middle + half + 4
        drawn.append(
            f'<text class="tick" x="{middle:.1f}" y="{height - _BOTTOM + 17 + row}" text-anchor="middle">'
            f"{_safe(shown)}</text>"
        )
    return drawn


def _across(left: float, width: float, height: float) -> str:
    return f'<path class="model" d="M{left:.1f} {height:.1f}h{width:.1f}"/>'


def _grid_line(height: float, text: str, width: int) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {height:.1f}H{width - _RIGHT}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _svg(drawn: Sequence[str], size: tuple[int, int], y_title: str, label: str) -> str:
    width, height = size
    middle = (height - _BOTTOM + _TOP) / 2
    axis = (
        f'<text class="axis" transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{_safe(y_title)}</text>"
    )
    return f'<svg role="img" aria-label="{_safe(label)}" viewBox="0 0 {width} {height}">{axis}{"".join(drawn)}</svg>'


def _safe(text: str) -> str:
    return escape(one_line(text))


def _part(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Return ends a little outside of positive `values`."""
    return min(values) / 1.25, max(values) * 1.25


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each power of ten between `low` and `high`, or the powers alone where those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    return found if len(found) <= 8 else [10.0**power for power in powers if low <= 10.0**power <= high]


def _ticks(highest: float) -> list[float]:
    """Return about five round values from zero to `highest`."""
    rough = highest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * count for count in range(int(highest / step) + 1)]
