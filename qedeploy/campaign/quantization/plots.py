"""Pictures of a quantization: what each layer costs, and the front of error against time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.figures import write_svg
from qedeploy.printable import plain_label

if TYPE_CHECKING:
    from qedeploy.campaign.quantization.contest import Contestant
    from qedeploy.search.assign.front import AssignmentFront

SENSITIVITY_PLOT, FRONT_PLOT = "sensitivity.svg", "front.svg"
_INCHES = 0.22
"""Width of a layer's place."""


def draw_sensitivity(
    path: Path,
    layers: Sequence[str],
    panels: Mapping[str, Sequence[tuple[float, float]]],
    series: Sequence[str],
) -> Path:
    """Write a picture over the layers in execution order and return `path`.

    Each panel has a value and its standard error (0 where there is none) for each of `layers`, which names a layer once
    for each of its `series`.
    """
    from matplotlib.figure import Figure

    places = {name: place for place, name in enumerate(dict.fromkeys(layers))}
    figure = Figure(figsize=(max(6.0, 1.5 + _INCHES * len(places)), 2.6 * len(panels) + 1.2), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (label, values) in zip(axes, panels.items(), strict=True):
        for one in dict.fromkeys(series):
            chosen = [number for number, name in enumerate(series) if name == one]
            axis.errorbar(
                [places[layers[number]] for number in chosen],
                [values[number][0] for number in chosen],
                yerr=[values[number][1] for number in chosen],
                fmt="o", markersize=3, elinewidth=0.8, label=plain_label(one),
            )  # fmt: skip
        if all(value > 0 for value, _ in values if not math.isnan(value)):
            axis.set_yscale("log")
        else:
            axis.axhline(0, color="0.7", linewidth=0.8)
        axis.set_ylabel(label)
        axis.grid(axis="y", alpha=0.3)
    if series:
        axes[0].legend(fontsize="small")
    axes[-1].set_xticks(list(places.values()), [plain_label(name) for name in places], rotation=90, fontsize=6)
    return write_svg(path, figure)


def draw_front(path: Path, front: AssignmentFront, measured: Sequence[Contestant]) -> Path:
    """Write a picture of the predicted front, with what was measured beside it, and return `path`."""
    from matplotlib.figure import Figure

    float_seconds = float(front.seconds[front.errors == 0].min()) if (front.errors == 0).any() else front.seconds.max()
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.step(front.seconds / float_seconds, front.errors, where="post", label="predicted front")
    if measured:
        axis.plot([item.time.value for item in measured], [item.error for item in measured], "o", label="measured")
    axis.set_xlabel("time of a query, of the prepared float network's")
    axis.set_ylabel("error of the outputs")
    axis.grid(alpha=0.3)
    axis.legend()
    return write_svg(path, figure)
