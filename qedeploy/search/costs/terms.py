"""Score and costs of layers as arrays: what both solvers add up. Broadcasts over any shape of choices.

A layer's cost splits into a part that its shape decides and a factor that its widths decide, so a solver can hold the
two apart: flops = products * b_A b_W / 64 + fixed_flops, bytes = weights * b_W / 8 + scale_bytes. The accounting is
that of `network.costs`, the entropy that of `search.score`; tests hold the three together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.search.score.score import ScoreKind, ScoreSettings, bit_entropy
from qedeploy.search.space.space import SearchSpace

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTerms:
    """What the shapes of a layer decide, as arrays that broadcast together.

    `entropy` is 1/2 ln(C_in k^2), or DeepMAD's; `products` multiply-accumulates; `fixed_flops` normalisation, ReLU and
    pooling; `weights` a count; `scale_bytes` two bytes an output channel.
    """

    entropy: Array
    products: Array
    fixed_flops: Array
    weights: Array
    scale_bytes: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTerms:
    """What the widths of a layer decide, one entry for each pair of a list.

    `entropy` is ln S_A + ln S_W - ln sigma_A; `nominal` and `executed` are b_A b_W / 64 of the pair and of the widths
    it is computed in; `weight_bytes` is b_W / 8; `activation_bytes` is b_A / 8.
    """

    entropy: Array
    nominal: Array
    executed: Array
    weight_bytes: Array
    activation_bytes: Array


def pair_terms(pairs: tuple[Bits, ...], executed: tuple[Bits, ...], settings: ScoreSettings) -> PairTerms:
    """Return the terms of `pairs`, computed on the device as `executed` (same length)."""
    return PairTerms(
        entropy=np.array([bit_entropy(bits, settings) for bits in pairs]),
        nominal=np.array([bits.weight * bits.activation / 64 for bits in pairs]),
        executed=np.array([bits.weight * bits.activation / 64 for bits in executed]),
        weight_bytes=np.array([bits.weight / 8 for bits in pairs]),
        activation_bytes=np.array([bits.activation / 8 for bits in pairs]),
    )


def convolution_terms(
    in_channels: Array | int,
    out_channels: Array | int,
    kernel: Array | int,
    stride: int,
    size: float,
    settings: ScoreSettings,
) -> LayerTerms:
    """Return the terms of a full convolution with normalisation and ReLU; `size` is its square input in pixels."""
    taps = np.multiply(in_channels, np.square(kernel))
    area = (size / stride) ** 2
    weights = taps * out_channels
    return LayerTerms(
        entropy=_shape_entropy(in_channels, kernel, settings),
        products=weights * area,
        fixed_flops=np.multiply(out_channels, 3 * area),
        weights=weights,
        scale_bytes=np.multiply(out_channels, 2),
    )


def block_terms(
    in_channels: Array | int,
    bottleneck: Array | int,
    out_channels: Array | int,
    kernel: Array | int,
    stride: int,
    size: float,
    settings: ScoreSettings,
) -> tuple[LayerTerms, LayerTerms, LayerTerms]:
    """Return the terms of an inverted bottleneck's three layers; `size` is the block's square input in pixels.

    Where in and out channels agree there is a shortcut, and with stride 2 its average pooling is counted with the
    last layer.
    """
    expand = convolution_terms(in_channels, bottleneck, 1, 1, size, settings)
    depthwise = convolution_terms(1, bottleneck, kernel, stride, size, settings)
    project = convolution_terms(bottleneck, out_channels, 1, 1, size / stride, settings)
    if stride == 2:
        pooling = np.where(np.equal(in_channels, out_channels), np.multiply(in_channels, size**2), 0.0)
        project = LayerTerms(
            entropy=project.entropy,
            products=project.products,
            fixed_flops=project.fixed_flops + pooling,
            weights=project.weights,
            scale_bytes=project.scale_bytes,
        )
    return expand, depthwise, project


def _shape_entropy(in_channels: Array | int, kernel: Array | int, settings: ScoreSettings) -> Array:
    if settings.kind is ScoreKind.DEEPMAD:
        return np.asarray(0.5 * settings.alpha1 * np.log(in_channels) + settings.alpha2 * np.log(kernel))
    return np.asarray(0.5 * np.log(np.multiply(in_channels, np.square(kernel))))


def space_pair_terms(space: SearchSpace, kind: LayerCategory, bits: tuple[Bits, ...]) -> PairTerms:
    """Return the terms of `bits` in layers of `kind`, as the device of `space` executes them."""
    return pair_terms(bits, tuple(space.executed.get((kind, pair), pair) for pair in bits), space.score)
