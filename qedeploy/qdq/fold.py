"""Folding batch normalisation into integer weights: the integers stay, their scale and the bias take the rest.

The output of a quantized convolution is `step_w[c] * sum(q_w q_x) * step_x`; a normalisation multiplies channel c by
`gain[c] = gamma[c] / sqrt(variance[c] + epsilon)` and shifts it. Scales in ONNX must be positive, so a negative
gain turns the integers' sign instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qedeploy.network.layers import Layer, LayerKind

_SMALLEST_SCALE = 1e-30
"""Below this a float32 product of scales can leave the normal range; a channel that small is dead."""

_BIAS_LIMIT = 2**30
"""Half of what 32 bits hold; the sum of products takes the other half (255 * 128 * 32,000 inputs fit)."""

_PAIR_LIMIT = 64
"""Two products of an unsigned byte with at most this fit 16 bits, which is where x86 without VNNI adds them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerWeights:
    """A trained layer.

    `weight`: (out, in/groups, k, k) or (out, in), integers of the weight quantizer where `step` (out,) is given, else
    floating point. `gain` and `shift`, both (out,): what follows the sum of products, 1 and the bias for a linear.
    """

    weight: NDArray[np.float64]
    step: NDArray[np.float64] | None
    gain: NDArray[np.float64]
    shift: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldedLayer:
    """Weights as a graph holds them: int8 with one positive float32 `scale` per output channel, or float32 without.

    `bias` is float64, in the units of the layer's output. `highest` is the largest integer of the type that the device
    holds the weights in. The counts are those of `LayerPlan`.
    """

    weight: NDArray[np.int8] | NDArray[np.float32]
    scale: NDArray[np.float32] | None
    bias: NDArray[np.float64]
    highest: int = 127
    weight_multiple: int = 1
    clipped_weights: int = 0
    dead_channels: int = 0
    rescaled_channels: int = 0


def groups_of(layer: Layer, out_channels: int) -> int:
    """Return the groups of `layer` if it has `out_channels` in a graph; padding may have added some."""
    if layer.kind is not LayerKind.DEPTHWISE:
        return layer.groups
    return out_channels * layer.in_channels // layer.out_channels


def normalisation(
    gamma: NDArray[np.float64],
    beta: NDArray[np.float64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    epsilon: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the `(gain, shift)` of a batch normalisation in evaluation, each (out,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # A broken variance gives values that are not finite; the reader names the layer.
        gain = gamma / np.sqrt(variance + epsilon)
    return gain, beta - gain * mean


def fold(layer: LayerWeights, *, highest: int = 127) -> FoldedLayer:
    """Return `layer` with its gain in the weights' scale; `highest` is the largest integer the device's type holds.

    A channel whose scale would be zero keeps its bias and loses its weights, under a scale of 1.
    """
    shape = (-1,) + (1,) * (layer.weight.ndim - 1)
    if layer.step is None:
        weight = (layer.weight * layer.gain.reshape(shape)).astype(np.float32)
        return FoldedLayer(weight=weight, scale=None, bias=layer.shift)
    scale = np.abs(layer.step * layer.gain)
    dead = scale < _SMALLEST_SCALE
    integers = layer.weight * np.where(layer.gain < 0, -1.0, 1.0).reshape(shape)
    integers = np.where(dead.reshape(shape), 0.0, integers)
    clipped = int(np.count_nonzero(integers > highest))
    return FoldedLayer(
        weight=np.minimum(integers, highest).astype(np.int8),
        scale=np.where(dead, 1.0, scale).astype(np.float32),
        bias=layer.shift,
        highest=highest,
        clipped_weights=clipped,
        dead_channels=int(np.count_nonzero(dead)),
    )


def with_integer_bias(layer: FoldedLayer, step: float) -> FoldedLayer:
    """Return `layer` with its bias on the grid of its products, `step * scale`, in 32-bit whole numbers.

    `step` is the input's. A runtime may add biases as such integers, and the grid of narrow weights is coarse: rounded
    to it, the biases of 3- and 4-bit layers cost more accuracy than everything else a lowering does. Weights are
    therefore held in multiples of a power of two where their type has the room, under a scale that is finer by as much:
    the same weights, and a bias that rounds up to 32 times finer. Where a bias does not fit at all, the channel's scale
    grows until it does, and its weights are rounded to the coarser grid.
    """
    if layer.scale is None:
        return layer
    scale = layer.scale.astype(np.float64)
    needed = np.maximum(np.abs(layer.bias) / (step * _BIAS_LIMIT), _SMALLEST_SCALE)
    largest = np.maximum(np.abs(layer.weight.astype(np.int32)).reshape(len(scale), -1).max(axis=1), 1)
    room = np.floor(np.log2(np.minimum(min(_PAIR_LIMIT, layer.highest) / largest, scale / needed)))
    multiple = 2.0 ** np.clip(room, 0, None)
    coarse = needed > scale
    new_scale = np.where(coarse, needed, scale / multiple).astype(np.float32)
    ratio = np.where(coarse, scale / new_scale, multiple).reshape((-1,) + (1,) * (layer.weight.ndim - 1))
    unit = step * new_scale.astype(np.float64)
    return FoldedLayer(
        weight=np.rint(layer.weight * ratio).astype(np.int8),
        scale=new_scale,
        bias=np.rint(layer.bias / unit) * unit,
        highest=layer.highest,
        weight_multiple=int(multiple.max()),
        clipped_weights=layer.clipped_weights,
        dead_channels=layer.dead_channels,
        rescaled_channels=int(np.count_nonzero(coarse)),
    )
