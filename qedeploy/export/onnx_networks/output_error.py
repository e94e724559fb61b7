"""How far outputs are from the float network's, as one number without a unit that no mixture of units hides.

An output of probabilities counts its Kullback-Leibler divergence (nats). Any other output counts the power of the
difference over the power of the signal, channel by channel, so that scores between 0 and 1 weigh as much as the
coordinates beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError

_PROBABILITY_TOLERANCE = 1e-3
_SMALLEST_PROBABILITY = 1e-12
_QUIET_CHANNELS = 10
"""Per cent of the channels that are so quiet on the data that the next louder one's power is their measure."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutputMeasure:
    """How one output's error is taken. `powers` (channels,) is the signal's in each channel, None for probabilities."""

    name: str
    axis: int
    powers: NDArray[np.float64] | None

    def error(self, expected: NDArray[Any], found: NDArray[Any]) -> float:
        """Return the error of one query's output."""
        wide, other = np.asarray(expected, np.float64), np.asarray(found, np.float64)
        if self.powers is None:
            first, second = (np.maximum(array, _SMALLEST_PROBABILITY) for array in (wide, other))
            return float((first * np.log(first / second)).sum(axis=-1).mean())
        squares = (wide - other) ** 2
        axes = tuple(index for index in range(squares.ndim) if index != self.axis)
        by_channel = np.atleast_1d(squares.mean(axis=axes) if self.axis >= 0 else squares.mean())
        live = self.powers > 0
        return float((by_channel[live] / self.powers[live]).mean()) if live.any() else float(by_channel.max())


def fit_measures(names: Sequence[str], outputs: Sequence[Sequence[NDArray[Any]]]) -> tuple[OutputMeasure, ...]:
    """Return how to take the error of each output, by what the float network makes of the data.

    `outputs` holds for each sample the arrays of `names`. Outputs of whole numbers (indices, counts) are left out.
    Raises RequestError where an output is not finite or nothing is left.
    """
    measures = []
    for index, name in enumerate(names):
        arrays = [np.asarray(sample[index]) for sample in outputs]
        if arrays[0].dtype.kind != "f" or arrays[0].size == 0:
            continue
        if not all(np.isfinite(array).all() for array in arrays):
            raise RequestError(f"output {name!r} of the float network is not finite on the data: mend the data")
        measures.append(_measure(name, [array.astype(np.float64) for array in arrays]))
    if not measures:
        raise RequestError("the network has no floating-point output: there is nothing whose error could be taken")
    return tuple(measures)


def require_live(
    names: Sequence[str], expected: Sequence[Sequence[NDArray[Any]]], found: Sequence[Sequence[NDArray[Any]]]
) -> None:
    """Raise RequestError naming an output or channel that is one number everywhere and is not in the float network."""
    for index, name in enumerate(names):
        floats = [np.asarray(sample[index]) for sample in expected]
        if floats[0].dtype.kind != "f" or floats[0].size == 0:
            continue
        others = [np.asarray(sample[index]) for sample in found]
        where = _dead(_measure(name, [array.astype(np.float64) for array in floats]), floats, others)
        if where is not None:
            raise RequestError(
                f"output {name!r}{where}: is the same number on all data once quantized, and is not in the float "
                "network: keep its layers in float with --keep"
            )


def _dead(measure: OutputMeasure, floats: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> str | None:
    """Return which channel of an output has died (", channel 3", or "" for all of it), None for none."""
    same = [all(np.array_equal(array, arrays[0]) for array in arrays) for arrays in (floats, found)]
    if len(floats) > 1 and same == [False, True]:
        return ""
    if measure.powers is None:
        return None
    before, after = _spans(floats, measure.axis), _spans(found, measure.axis)
    dead = np.flatnonzero((after == 0) & (before**2 > measure.powers))
    if not len(dead):
        return None
    return f", channel {dead[0]}" if len(before) > 1 else ""


def _measure(name: str, arrays: Sequence[NDArray[np.float64]]) -> OutputMeasure:
    if _are_probabilities(arrays):
        return OutputMeasure(name=name, axis=-1, powers=None)
    axis = _channel_axis(arrays[0].shape)
    moved = [np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) if axis >= 0 else array.reshape(1, -1)
             for array in arrays]  # fmt: skip
    joined = np.concatenate(moved, axis=1)
    powers = joined.var(axis=1)
    # What rounding alone makes of a constant channel is no signal.
    powers[powers <= (1e-6 * np.abs(joined).max(axis=1)) ** 2] = 0.0
    live = powers[powers > 0]
    if len(live):
        floor = np.percentile(live, _QUIET_CHANNELS, method="lower")
        powers = np.where(powers > 0, np.maximum(powers, floor), 0.0)
    return OutputMeasure(name=name, axis=axis, powers=powers)


def _are_probabilities(arrays: Sequence[NDArray[np.float64]]) -> bool:
    if arrays[0].ndim < 2 or arrays[0].shape[-1] < 2:
        return False
    return all(
        array.min() >= -_PROBABILITY_TOLERANCE and np.abs(array.sum(axis=-1) - 1).max() <= _PROBABILITY_TOLERANCE
        for array in arrays
    )


def _channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of channels: the second of images, the shorter of two behind the batch, else none (-1)."""
    if len(shape) == 4:
        return 1
    if len(shape) == 3:
        return 1 if shape[1] <= shape[2] else 2
    return -1


def _spans(arrays: Sequence[NDArray[Any]], axis: int) -> NDArray[np.float64]:
    axes = tuple(index for index in range(arrays[0].ndim) if index != axis) if axis >= 0 else None
    highs = np.max([np.max(array, axis=axes) for array in arrays], axis=0)
    lows = np.min([np.min(array, axis=axes) for array in arrays], axis=0)
    return np.atleast_1d(np.asarray(highs - lows, np.float64))


def total_error(measures: Sequence[OutputMeasure], names: Sequence[str], expected: Sequence[NDArray[Any]],
                found: Sequence[NDArray[Any]]) -> float:  # fmt: skip
    """Return one query's error: the largest of its outputs', so that a good one does not make up for a bad one."""
    by_name = {name: (first, second) for name, first, second in zip(names, expected, found, strict=True)}
    return max(measure.error(*by_name[measure.name]) for measure in measures)
