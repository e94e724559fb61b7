"""Values that are another value's integers read on another grid: a hard sigmoid, and a scale and shift of all channels.

`clip(alpha x + beta, 0, 1)` of integers on a grid is the same integers clipped, on the grid scaled by alpha whose zero
point is moved by beta: no arithmetic at all. So is `scale x + shift`. Both need the number that becomes zero to be on
the grid of x exactly, and the grid is chosen so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from qedeploy.export.onnx_networks.editor import GraphEditor, attribute
from qedeploy.export.onnx_networks.grids import LEVELS, ValueGrid

_DEFAULT_ALPHA, _DEFAULT_BETA, _DEFAULT_EPSILON = 0.2, 0.5, 1e-5
_NEARLY = 1e-3
"""Share of a step by which a bound of a hard sigmoid may miss the grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerReading:
    """A value as the integers of `source`, clipped to `bounds` where there are any, on `grid`."""

    source: str
    grid: ValueGrid
    bounds: tuple[int, int] | None = None


def regrid(
    editor: GraphEditor, grids: Mapping[str, ValueGrid]
) -> tuple[dict[str, ValueGrid], dict[str, IntegerReading]]:
    """Return `grids` changed so that values can be read from others' integers, and how each such value is read."""
    chosen, readings = dict(grids), dict[str, IntegerReading]()
    for node in editor.nodes:
        source, result = node.input[0], node.output[0]
        found = _scale_and_shift(editor, node)
        if found is None or source not in chosen:
            continue
        scale, shift = found
        grid = ValueGrid.through(chosen[source].low, chosen[source].high, -shift / scale)
        reading = _reading(node, source, grid, scale, shift)
        if reading is not None and source not in readings:
            chosen[source], chosen[result] = grid, reading.grid
            readings[result] = reading
    return chosen, readings


def _reading(node: NodeProto, source: str, grid: ValueGrid, scale: float, shift: float) -> IntegerReading | None:
    step = scale * grid.scale
    zero = grid.zero_point - round(shift / step)
    if not 0 <= zero <= LEVELS:
        return None
    read = ValueGrid(scale=float(np.float32(step)), zero_point=zero)
    if node.op_type != "HardSigmoid":
        return IntegerReading(source=source, grid=read)
    ceiling = zero + 1 / step
    if ceiling >= LEVELS:
        return IntegerReading(source=source, grid=read, bounds=(zero, LEVELS))
    if abs(ceiling - round(ceiling)) > _NEARLY:
        return None
    return IntegerReading(source=source, grid=read, bounds=(zero, round(ceiling)))


def _scale_and_shift(editor: GraphEditor, node: NodeProto) -> tuple[float, float] | None:
    """Return what `node` multiplies by and adds, the same for all channels; None where it does something else."""
    if node.op_type == "HardSigmoid":
        scale, shift = attribute(node, "alpha", _DEFAULT_ALPHA), attribute(node, "beta", _DEFAULT_BETA)
        return (float(scale), float(shift)) if scale > 0 else None
    if node.op_type != "BatchNormalization" or len(node.output) != 1:
        return None
    arrays = [editor.constant(name) for name in node.input[1:5]]
    if any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    scales = gamma / np.sqrt(variance + float(attribute(node, "epsilon", _DEFAULT_EPSILON)))
    shifts = beta - mean * scales
    spread = max(np.ptp(scales) / max(abs(float(scales[0])), 1e-20), np.ptp(shifts) / max(np.abs(shifts).max(), 1e-20))
    if spread > 1e-5 or not scales[0] > 0 or not math.isfinite(float(shifts[0] / scales[0])):
        return None
    return float(scales[0]), float(shifts[0])
