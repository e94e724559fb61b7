"""DeepMAD's score (arXiv 2303.02165) as LightNAS has it: it knows no widths, and is no sum over layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qedeploy.network.layers import Layer, LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.search.score.kinds.qe_score import QeScore, feature_sizes
from qedeploy.search.space.layers import Array, Layers


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepMad(QeScore):
    """Entropy by channels and kernels alone, times the size of what a stage puts out."""

    name: ClassVar[str] = "deepmad"
    label: ClassVar[str] = "score (deepmad)"
    obstacle: ClassVar[str | None] = "multiplies entropy by feature size"

    def shape_term(self, layers: Layers) -> Array:
        """Return 1/2 ln(C_in^alpha1 k^(2 alpha2)); C_in is 1 for a depthwise layer."""
        return np.asarray(0.5 * self.alpha1 * np.log(layers.fan_in) + self.alpha2 * np.log(layers.kernel))

    def pair_term(self, kind: LayerCategory, bits: Bits) -> float:
        """Return 0: no width changes this score."""
        del kind, bits
        return 0.0

    def layer_entropy(self, layer: Layer) -> float:
        """Return the entropy of one convolution."""
        channels = layer.in_channels // layer.groups
        return 0.5 * (self.alpha1 * math.log(channels) + 2 * self.alpha2 * math.log(layer.kernel))

    def composed(self, entropy: float, channels: int, size: int) -> float:
        """Return entropy times the logarithm of the numbers that the stage puts out."""
        return entropy * (math.log(channels) + math.log(size**2))

    def population_weights(
        self, strides: Sequence[int], resolution: int, out_channels: Sequence[Array]
    ) -> Sequence[Array | float]:
        """Return what multiplies each block's entropy: it counts with every end of a score stage behind it."""
        sizes = feature_sizes(resolution, tuple(strides))
        weighted = [
            weight * (np.log(out) + np.log(size**2)) if weight else np.zeros(1)
            for weight, out, size in zip(self.weights(strides)[1], out_channels, sizes, strict=True)
        ]
        return [np.sum(np.broadcast_arrays(*weighted[block:]), axis=0) for block in range(len(weighted))]

    def end_term(self, out_channels: Array) -> Array:
        """Return 0: what a stage puts out multiplies its entropy, and adds nothing."""
        return np.zeros(np.shape(out_channels))
