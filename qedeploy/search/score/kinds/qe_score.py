"""QE-Score (Sun et al., NeurIPS 2022): entropy of a quantized network, summed over its score stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from qedeploy.errors import UserError
from qedeploy.network.layers import Layer, LayerCategory, expand_layers
from qedeploy.network.structure import Bits, Convolution, Stage, Structure
from qedeploy.search.score.entropy import quantized_deviation
from qedeploy.search.score.score import Score
from qedeploy.search.space.layers import Array, Layers


@dataclass(frozen=True, slots=True, kw_only=True)
class QeScore(Score):
    """QE-Score with what the reference's recipes set: deviations in quantization steps, one ratio for each stage.

    `alpha1` and `alpha2` weigh channels and kernels in DeepMAD's entropy, of which this one is 1 and 1, plus widths:
    the reference's files carry them with either score.
    """

    name: ClassVar[str] = "madnas"
    label: ClassVar[str] = "QE-Score"
    sigma_activation: Annotated[float, Gt(0)] = 5.0
    sigma_weight: Annotated[float, Gt(0)] = 4.0
    stage_ratios: tuple[Annotated[float, Ge(0)], ...] = (0.0, 0.0, 1.0, 1.0, 6.0)
    alpha1: Annotated[float, Gt(0)] = 1.0
    alpha2: Annotated[float, Gt(0)] = 1.0

    def of(self, structure: Structure) -> float:
        """Return the score of `structure` in nats, weighted by the stage ratios."""
        return sum(stage_scores(structure, self))

    def shape_term(self, layers: Layers) -> Array:
        """Return 1/2 ln(C_in k^2); C_in is 1 for a depthwise layer."""
        return np.asarray(0.5 * np.log(np.multiply(layers.fan_in, np.square(layers.kernel))))

    def pair_term(self, kind: LayerCategory, bits: Bits) -> float:
        """Return what the widths of a layer add to its entropy: ln S(sigma_A, b_A) + ln S(sigma_W, b_W) - ln sigma_A.

        Raises UserError where a sigma is not positive, or so small that every value rounds to zero.
        """
        del kind
        activation = _log_deviation("sigma_activation", self.sigma_activation, bits.activation)
        weight = _log_deviation("sigma_weight", self.sigma_weight, bits.weight)
        return activation + weight - math.log(self.sigma_activation)

    def end_term(self, out_channels: Array) -> Array:
        """Return ln(out_channels)."""
        return np.asarray(np.log(out_channels))

    def weights(self, strides: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the sum of the ratios of all score stages that end at a block or later, and at it.

        Raises UserError where ratios and score stages differ in number.
        """
        ends = score_stages(tuple(strides))
        if len(ends) != len(self.stage_ratios):
            raise UserError(
                f"stage_ratios: expected {len(ends)}, one for each score stage of these strides, "
                f"found {len(self.stage_ratios)}"
            )
        rated, blocks = list(zip(self.stage_ratios, ends, strict=True)), range(len(strides))
        entropy = tuple(sum(ratio for ratio, end in rated if end >= block) for block in blocks)
        return entropy, tuple(sum(ratio for ratio, end in rated if end == block) for block in blocks)

    def document(self) -> dict[str, Any]:
        """Return name and settings in the order that recipes and search.json have."""
        return {
            "sigma_activation": self.sigma_activation,
            "sigma_weight": self.sigma_weight,
            "stage_ratios": list(self.stage_ratios),
            "kind": self.name,
            "alpha1": self.alpha1,
            "alpha2": self.alpha2,
        }

    def layer_entropy(self, layer: Layer) -> float:
        """Return the entropy of one convolution: the reference that the array code is tested against."""
        return 0.5 * math.log(layer.in_channels // layer.groups * layer.kernel**2) + self.pair_term(
            layer.category, layer.bits
        )

    def composed(self, entropy: float, channels: int, size: int) -> float:
        """Return what a score stage is worth that ends with this entropy, these channels and so many pixels."""
        del size
        return entropy + math.log(channels)


def _log_deviation(name: str, sigma: float, bits: int) -> float:
    deviation = quantized_deviation(sigma, bits)
    if deviation == 0.0:
        raise UserError(f"{name}: {sigma} quantization steps are so few that every value rounds to 0: take 0.1 or more")
    return math.log(deviation)


def qe_score(structure: Structure, score: Score = QeScore()) -> float:
    """Return the QE-Score of `structure`; with settings of another score that one."""
    return score.of(structure)


def score_stages(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return, for each score stage, the index of the reference block it ends with.

    `strides` are those of stem, stages and head in order. A stage ends before every block of stride 2 except block 0,
    and at the last block.
    """
    ends = [index - 1 for index, stride in enumerate(strides) if stride == 2 and index > 0]
    return (*ends, len(strides) - 1)


def stage_scores(structure: Structure, score: QeScore = QeScore()) -> tuple[float, ...]:
    """Return each score stage's weighted part; raises UserError where ratios and score stages differ in number."""
    blocks: tuple[Convolution | Stage, ...] = (structure.stem, *structure.stages, structure.head)
    ends = score_stages(tuple(block.stride for block in blocks))
    if len(ends) != len(score.stage_ratios):
        raise UserError(
            f"stage ratios: expected {len(ends)}, one for each score stage of this structure, "
            f"found {len(score.stage_ratios)}"
        )
    entropies = [0.0] * len(blocks)
    for layer in expand_layers(structure):
        if layer.category is not LayerCategory.CLASSIFIER:
            entropies[_block_index(layer, len(blocks))] += score.layer_entropy(layer)
    sizes = feature_sizes(structure.resolution, tuple(block.stride for block in blocks))
    return tuple(
        ratio * score.composed(sum(entropies[: end + 1]), blocks[end].out_channels, sizes[end]) if ratio else 0.0
        for ratio, end in zip(score.stage_ratios, ends, strict=True)
    )


def feature_sizes(resolution: int, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the square size in pixels behind each reference block, halved rounding down as the reference does."""
    sizes = []
    for stride in strides:
        # Never below a pixel, where the reference would take the logarithm of zero.
        resolution = max(1, resolution // stride)
        sizes.append(resolution)
    return tuple(sizes)


def _block_index(layer: Layer, blocks: int) -> int:
    if layer.category is LayerCategory.STEM:
        return 0
    if layer.category is LayerCategory.HEAD:
        return blocks - 1
    return int(layer.name.split(".")[0].removeprefix("stage"))
