"""Choosing the steps that were not trained, layer by layer, so that each sees its inputs as the device rounds them.

A step minimises the mean squared rounding error of the values seen: 32 candidates from 2 % to 100 % of the range that
covers the largest value, geometrically spaced, then 16 around the best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qedeploy.network.operations import IMAGE, Operation
from qedeploy.qdq.fold import FoldedLayer, with_integer_bias
from qedeploy.qdq.plan import Grid
from qedeploy.qdq.sampling import spread_places
from qedeploy.qdq.simulation import Reading, execute, quantize

_CHUNK = 4
_SAMPLES = 50_000
_COARSE = 32
_FINE = 16
_SMALLEST_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A grid whose step is still to be chosen; `step` is what it was set to without training, if it was."""

    bits: int
    signed: bool
    nonnegative: bool
    ceiling: float | None = None
    step: float | None = None

    def grid(self, step: float) -> Grid:
        """Return the grid with `step`."""
        return Grid.of(
            bits=self.bits, signed=self.signed, step=step, nonnegative=self.nonnegative, ceiling=self.ceiling
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """Every grid by the name of its value, and the layers with their biases as the device adds them."""

    grids: Mapping[str, Grid]
    layers: Mapping[str, FoldedLayer]


def calibrate(
    steps: tuple[Operation, ...],
    layers: Mapping[str, FoldedLayer],
    grids: Mapping[str, Grid | Wanted],
    images: Tensor,
    *,
    integer_bias: bool,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Calibrated:
    """Return the grids of `grids` with every step chosen, those that have one unchanged.

    `images`: float (batch, channels, height, width), normalised. Values without an entry in `grids` stay
    floating point. With `integer_bias`, biases go onto the grid of their products as soon as that is known.
    `progress` is called with the operations done and their number.
    """
    chosen: dict[str, Grid] = {}
    finished: dict[str, FoldedLayer] = {}
    readings = {IMAGE: _round(IMAGE, list(torch.split(images.to(torch.float32), _CHUNK)), grids, chosen)}
    last_use = {name: index for index, step in enumerate(steps) for name in step.inputs}
    for index, step in enumerate(steps):
        layer = layers.get(step.name)
        if layer is not None:
            grid = chosen.get(step.inputs[0])
            layer = with_integer_bias(layer, grid.step) if integer_bias and grid is not None else layer
            finished[step.name] = layer
        sources = [readings[name] for name in step.inputs]
        outputs = [
            execute(step, [_widened(reading) for reading in chunk], layer).to(torch.float32)
            for chunk in zip(*sources, strict=True)
        ]
        readings[step.name] = _round(step.name, outputs, grids, chosen)
        for name in [name for name in readings if last_use.get(name, len(steps)) <= index]:
            del readings[name]
        progress(index + 1, len(steps))
    return Calibrated(grids=chosen, layers=finished)


def best_step(values: Tensor, wanted: Wanted) -> float:
    """Return the step with the least mean squared error of rounding `values` to the wanted grid.

    The step is 1 if all values are zero or any is not finite.
    """
    unit = Grid.of(bits=wanted.bits, signed=wanted.signed, step=1.0, nonnegative=wanted.nonnegative)
    flat = values.flatten()
    sample = flat[torch.from_numpy(spread_places(flat.numel(), _SAMPLES))].numpy()
    covering = max(float(flat.max()) / unit.high, float(flat.min()) / unit.low if unit.low else 0.0)
    # Float32 has to hold the step and its products with weight scales, well above its smallest normal number.
    if not 1e-20 < covering < 1e20:
        return 1.0
    best = _least_error(sample, covering * np.geomspace(_SMALLEST_SHARE, 1, _COARSE), unit)
    ratio = _SMALLEST_SHARE ** (1 / (_COARSE - 1))
    return float(np.float32(_least_error(sample, best * np.geomspace(ratio, 1 / ratio, _FINE), unit)))


def _least_error(sample: NDArray[np.float32], candidates: NDArray[np.float64], unit: Grid) -> float:
    # NumPy's one thread: on a busy machine thousands of small parallel loops wait for each other for minutes.
    errors = []
    for step in candidates.astype(np.float32):
        rounded = np.rint(sample / step)
        np.clip(rounded, unit.low, unit.high, out=rounded)
        rounded *= step
        rounded -= sample
        errors.append(np.dot(rounded, rounded))
    return float(candidates[int(np.argmin(errors))])


def _round(
    name: str, chunks: list[Tensor], grids: Mapping[str, Grid | Wanted], chosen: dict[str, Grid]
) -> list[Reading]:
    wanted = grids.get(name)
    if wanted is None:
        return [Reading(numbers=chunk) for chunk in chunks]
    grid = wanted.grid(best_step(torch.cat(chunks), wanted)) if isinstance(wanted, Wanted) else wanted
    chosen[name] = grid
    # Whole numbers of at most 8 bits fit 16; such small ones leave memory for many images at once.
    return [Reading(numbers=quantize(chunk, grid).to(torch.int16), step=grid.step) for chunk in chunks]


def _widened(reading: Reading) -> Reading:
    whole = reading.numbers.dtype is torch.int16
    return Reading(numbers=reading.numbers.to(torch.float32 if whole else torch.float64), step=reading.step)
