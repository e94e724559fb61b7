"""The report's plots as inline SVG: no raster, no script, and text in the page's own font and colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qedeploy.bench.report.document import ComparedModel, LayerRow
from qedeploy.printable import plain_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qedeploy.bench.prediction.prediction import Prediction

KIND_COLOURS = {
    "stem": "#9b6dd7",
    "pointwise": "#3f8ae0",
    "depthwise": "#e58a2b",
    "head": "#27a57a",
    "classifier": "#d6517d",
}
_PLAIN = "#3f8ae0"
_INK = "#010203"
"""Stands for the page's text colour until the SVG is written: matplotlib has no word for it."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "qedeploy",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def bitops_against_time(rows: Sequence[LayerRow], *, executed: bool) -> str:
    """Return a scatter of the layers' BitOps, nominal or executed, against their times, both logarithmic."""
    widths = "executed" if executed else "nominal"
    # Layers that ran together are a point of no kind, their sums.
    shown = [(row, row.seconds) for row in rows if row.seconds and row.nominal_bitops and row.executed_bitops]

    def draw(axes: Axes) -> None:
        for kind in dict.fromkeys(row.kind for row, _ in shown):
            chosen = [(row, seconds) for row, seconds in shown if row.kind == kind]
            axes.scatter(
                [((row.executed_bitops if executed else row.nominal_bitops) or 0.0) / 1e6 for row, _ in chosen],
                [seconds * 1e6 for _, seconds in chosen],
                label=kind or "layers together",
                color=KIND_COLOURS.get(kind or "", _PLAIN),
                alpha=0.8,
                s=28,
                linewidths=0,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain_ticks(axes.xaxis)
        _plain_ticks(axes.yaxis)
        axes.set_xlabel(f"{widths} BitOps, millions")
        axes.set_ylabel("time, us")
        axes.figure.legend(fontsize=9, loc="outside upper center", ncols=5, columnspacing=1.0, handletextpad=0.1)

    return _svg(draw, (5.2, 3.9), f"{widths}-bitops", f"{widths} BitOps of each layer against its time")


def layer_times(rows: Sequence[LayerRow]) -> str:
    """Return a bar per layer in execution order, with the time model's value as a line across it."""
    lines = _Lines(label="time model", seconds=[row.modelled for row in rows])
    return _bars(rows, [row.seconds for row in rows], lines, "layer-times", "time of each layer in execution order")


def predicted_times(prediction: Prediction, rows: Sequence[LayerRow]) -> str:
    """Return a bar per layer as measured, with the latency table's prediction as a line across it."""
    layers = {layer.name: layer for layer in prediction.layers}
    shown = [row for row in rows if row.name in layers]
    lines = _Lines(label="predicted", seconds=[layers[row.name].predicted for row in shown])
    measured = [layers[row.name].measured for row in shown]
    return _bars(shown, measured, lines, "predicted-times", "measured time of each layer, and the predicted one")


def ratios(compared: Sequence[ComparedModel]) -> str:
    """Return each comparison's ratio with its interval, beside the line of equal times."""
    shown = [item for item in compared if item.ratio is not None]

    def draw(axes: Axes) -> None:
        for place, item in enumerate(shown):
            if item.ratio is not None:
                axes.plot([item.ratio.low, item.ratio.high], [place, place], color=_PLAIN, linewidth=5, alpha=0.45)
                axes.plot([item.ratio.value], [place], "o", color=_PLAIN, markersize=8)
        axes.axvline(1.0, color=_INK, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(shown)), [plain_label(item.name) for item in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("this model's time / the other's (1 = equal; left of it, this model is faster)")

    return _svg(
        draw, (7.2, 0.9 + 0.5 * len(shown)), "ratios", "this model's time over that of each other model, with intervals"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Seconds drawn as lines across bars, None for no line, and what the legend calls them."""

    label: str
    seconds: Sequence[float | None]


def _bars(rows: Sequence[LayerRow], seconds: Sequence[float | None], lines: _Lines, name: str, label: str) -> str:
    """Return a bar of `seconds` for each row that has them in the colour of its kind, with `lines` across the bars."""

    def draw(axes: Axes) -> None:
        colours = [KIND_COLOURS.get(row.kind or "", _PLAIN) for row in rows]
        axes.bar(range(len(rows)), [(time or 0.0) * 1e6 for time in seconds], color=colours, width=0.78)
        drawn = [(place, time * 1e6) for place, time in enumerate(lines.seconds) if time is not None]
        if drawn:
            axes.hlines(
                [time for _, time in drawn],
                [place - 0.45 for place, _ in drawn],
                [place + 0.45 for place, _ in drawn],
                colors=_INK,
                linewidth=1.4,
                label=lines.label,
            )
            axes.legend(fontsize=9, loc="upper right")
        groups = _groups(rows)
        axes.set_xticks(
            [place for place, _ in groups], [name for _, name in groups], rotation=55, ha="right", fontsize=8
        )
        axes.set_xlim(-0.7, len(rows) - 0.3)
        axes.set_ylabel("time, us")

    return _svg(draw, (10.4, 3.6), name, label)


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _groups(rows: Sequence[LayerRow]) -> list[tuple[float, str]]:
    """Return the middle place and the name of each stage, and of every layer outside one; none for unknown layers."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.kind is not None:
            places.setdefault(row.name.partition(".")[0], []).append(place)
    return [((members[0] + members[-1]) / 2, name) for name, members in places.items()]


def _svg(draw: Callable[[Axes], None], size: tuple[float, float], name: str, label: str) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure: Figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _inline(stream.getvalue(), name, label)


def _inline(svg: str, name: str, label: str) -> str:
    """Return an SVG file as an element of a page: no prologue, no addresses, ids that are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    # The size comes from the page; the view box keeps the proportions.
    svg = re.sub(r'(<svg\b[^>]*?)\sheight="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font:\s*([\d.]+px)\s*[^;\"]*", r"font-size: \1; font-family: inherit", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return svg.replace(_INK, "currentColor").strip()
