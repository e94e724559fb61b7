"""Bringing a lowered network's constants to float16, so that a graph in float16 holds exactly what its plan says.

A float16 scale is a rounded scale: where it is rounded only when written, the integers behind it are those of another
grid. Steps, weight scales and biases are therefore rounded here, before anything is computed with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.lowered import LoweredNetwork, weight_range
from qedeploy.qdq.plan import Grid, LayerPlan

_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
_LARGEST = float(np.finfo(np.float16).max)


def round_scale(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positive scales as float16 holds them, never zero.

    Where float16 is subnormal its relative steps are coarse: there scales are rounded up, so that integers that are
    rounded to the new scale stay within their range.
    """
    nearest = scale.astype(np.float16).astype(np.float64)
    up = np.ceil(scale / _SMALLEST) * _SMALLEST
    return np.where(scale < _SMALLEST_NORMAL, np.maximum(up, _SMALLEST), nearest)


def in_half(network: LoweredNetwork) -> LoweredNetwork:
    """Return `network` with every step, weight scale and bias as a float16 number, also in its plan.

    Weights go to the nearest integer of the rounded scale, which only moves them where a scale is subnormal. Raises
    RequestError naming the layer or value that float16 cannot hold.
    """
    layers = {name: _layer(name, layer) for name, layer in network.layers.items()}
    grids = {value.name: _grid(value.name, value.grid) for value in network.plan.values}
    by_grid = {value.grid: grids[value.name] for value in network.plan.values}
    plan = dataclasses.replace(
        network.plan,
        layers=tuple(_plan(item, network.layers, layers, by_grid) for item in network.plan.layers),
        values=tuple(dataclasses.replace(value, grid=grids[value.name]) for value in network.plan.values),
    )
    return dataclasses.replace(network, plan=plan, layers=layers)


def _grid(name: str, grid: Grid) -> Grid:
    step = float(round_scale(np.asarray(grid.step)))
    if step * max(grid.high, -grid.low) > _LARGEST:
        raise RequestError(
            f"{name}: its range of {grid.step * grid.high:.3g} is more than float16 holds ({_LARGEST:g})"
        )
    return dataclasses.replace(grid, step=step)


def _layer(name: str, layer: FoldedLayer) -> FoldedLayer:
    largest = float(np.abs(layer.bias).max(initial=0.0))
    if largest > _LARGEST:
        raise RequestError(f"{name}: a bias of {largest:.3g} is more than float16 holds ({_LARGEST:g})")
    bias = layer.bias.astype(np.float16).astype(np.float64)
    if layer.scale is None:
        weight = np.clip(layer.weight, -_LARGEST, _LARGEST).astype(np.float16).astype(np.float32)
        return dataclasses.replace(layer, weight=weight, bias=bias)
    before = layer.scale.astype(np.float64)
    after = round_scale(before)
    ratio = (before / after).reshape((-1,) + (1,) * (layer.weight.ndim - 1))
    weight = np.rint(layer.weight * ratio).astype(np.int8)
    moved = (weight != layer.weight).reshape(len(after), -1).any(axis=1)
    return dataclasses.replace(
        layer,
        weight=weight,
        scale=after.astype(np.float32),
        bias=bias,
        rescaled_channels=layer.rescaled_channels + int(np.count_nonzero(moved)),
    )


def _plan(
    plan: LayerPlan, before: Mapping[str, FoldedLayer], after: Mapping[str, FoldedLayer], grids: Mapping[Grid, Grid]
) -> LayerPlan:
    low, high = weight_range(after[plan.name])
    return dataclasses.replace(
        plan,
        input=None if plan.input is None else grids[plan.input],
        weight_low=low,
        weight_high=high,
        rescaled_channels=plan.rescaled_channels
        + after[plan.name].rescaled_channels
        - before[plan.name].rescaled_channels,
    )
