"""The report's charts: each layer's BitOps against its time, and the layers' times in execution order."""

from __future__ import annotations

from collections.abc import Sequence

from qedeploy.bench.prediction.prediction import Prediction
from qedeploy.bench.report import formats, svg
from qedeploy.bench.report.document import LayerRow

KIND_COLOURS = {
    "stem": "#9b6dd7",
    "pointwise": "#3f8ae0",
    "depthwise": "#e58a2b",
    "convolution": "#4fa3a5",
    "linear": "#b98b2e",
    "head": "#27a57a",
    "classifier": "#d6517d",
}
"""Colours that tell kinds apart on light and on dark pages."""

TOGETHER = "together"
"""What stands for the kind of layers that ran together, which may be of several."""

OTHER = "other"
"""What stands for the kind of what is no known layer."""


def kind_of(row: LayerRow) -> str:
    """Return the word by which a row is coloured and filtered."""
    if row.layers:
        return TOGETHER
    return row.kind or OTHER


def bitops_against_time(rows: Sequence[LayerRow], *, executed: bool) -> str:
    """Return a scatter of the layers' BitOps, nominal or executed, against their times, both logarithmic."""
    widths = "executed" if executed else "nominal"
    marks = []
    for row in rows:
        count = row.executed_bitops if executed else row.nominal_bitops
        if row.seconds and count:
            marks.append(svg.Mark(kind=kind_of(row), text=_told(row), x=count / 1e6, y=row.seconds * 1e6))
    return svg.scatter(
        marks, f"{widths} BitOps, millions", "time, us", f"{widths} BitOps of each layer against its time"
    )


def same_widths(rows: Sequence[LayerRow]) -> bool:
    """Return whether every layer runs in its own widths, so that nominal and executed BitOps are one."""
    return all(row.nominal_bitops == row.executed_bitops for row in rows)


def layer_times(rows: Sequence[LayerRow]) -> str:
    """Return a column per layer in execution order, with the time model's value as a line across it."""
    marks = [
        svg.Mark(
            kind=kind_of(row),
            text=_told(row),
            y=(row.seconds or 0.0) * 1e6,
            line=None if row.modelled is None else row.modelled * 1e6,
        )
        for row in rows
    ]
    return svg.columns(marks, _groups(rows), "time, us", "time of each layer in execution order")


def predicted_times(prediction: Prediction, rows: Sequence[LayerRow]) -> str:
    """Return a column per layer as measured, with the latency table's prediction as a line across it."""
    layers = {layer.name: layer for layer in prediction.layers}
    shown = [row for row in rows if row.name in layers]
    marks = []
    for row in shown:
        layer = layers[row.name]
        measured, predicted = formats.microseconds(layer.measured), formats.microseconds(layer.predicted)
        marks.append(
            svg.Mark(
                kind=kind_of(row),
                text=f"{row.name}: {measured} us measured, {predicted} us predicted",
                y=layer.measured * 1e6,
                line=layer.predicted * 1e6,
            )
        )
    return svg.columns(marks, _groups(shown), "time, us", "measured time of each layer, and the predicted one")


def _told(row: LayerRow) -> str:
    """Return what hovering over a layer shows."""
    parts = [f"{formats.microseconds(row.seconds)} us ({formats.percent(row.share)})"]
    if row.nominal is not None:
        parts.append(formats.widths(row.nominal, row.executed))
    if row.executed_bitops is not None:
        parts.append(f"{formats.giga(row.executed_bitops)} executed GBitOps")
    return f"{row.name}: {', '.join(parts)}"


def _groups(rows: Sequence[LayerRow]) -> list[tuple[float, str]]:
    """Return the middle place and the name of each stage, and of every layer outside one; none for unknown layers."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.kind is not None:
            places.setdefault(row.name.partition(".")[0], []).append(place)
    return [((members[0] + members[-1]) / 2, name) for name, members in places.items()]
