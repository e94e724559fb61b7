"""QE-Score of a Structure, one layer after another: the reference that the array code is tested against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.errors import RequestError, UserError
from qedeploy.network.layers import Layer, Position, expand_layers
from qedeploy.network.structure import Bits, Convolution, Stage, Structure
from qedeploy.search.score.entropy import quantized_deviation


class ScoreKind(StrEnum):
    """Which of the reference's scores: QE-Score, or DeepMAD's (arXiv 2303.02165), which knows no widths."""

    MADNAS = "madnas"
    DEEPMAD = "deepmad"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """What the quantization recipes of the reference use: deviations in quantization steps, one ratio per stage.

    `alpha1` and `alpha2` weigh channels and kernels in DeepMAD's entropy; QE-Score is that with 1 and 1, plus widths.
    """

    sigma_activation: float = 5.0
    sigma_weight: float = 4.0
    stage_ratios: tuple[float, ...] = (0.0, 0.0, 1.0, 1.0, 6.0)
    kind: ScoreKind = ScoreKind.MADNAS
    alpha1: float = 1.0
    alpha2: float = 1.0


def bit_entropy(bits: Bits, settings: ScoreSettings) -> float:
    """Return what the widths of one layer add to its entropy: ln S(sigma_A, b_A) + ln S(sigma_W, b_W) - ln sigma_A.

    DeepMAD's score has no such part. Raises UserError where a sigma is not positive, or so small that every value
    rounds to zero.
    """
    if settings.kind is ScoreKind.DEEPMAD:
        return 0.0
    activation = _log_deviation("sigma_activation", settings.sigma_activation, bits.activation)
    weight = _log_deviation("sigma_weight", settings.sigma_weight, bits.weight)
    return activation + weight - math.log(settings.sigma_activation)


def _log_deviation(name: str, sigma: float, bits: int) -> float:
    deviation = quantized_deviation(sigma, bits)
    if deviation == 0.0:
        raise UserError(f"{name}: {sigma} quantization steps are so few that every value rounds to 0: take 0.1 or more")
    return math.log(deviation)


def layer_entropy(layer: Layer, settings: ScoreSettings) -> float:
    """Return the entropy of one convolution: 1/2 ln(C_in k^2) plus what its widths add; C_in is 1 for a depthwise one.

    For DeepMAD it is 1/2 ln(C_in^alpha1 k^(2 alpha2)).
    """
    channels = layer.in_channels // layer.groups
    if settings.kind is ScoreKind.DEEPMAD:
        return 0.5 * (settings.alpha1 * math.log(channels) + 2 * settings.alpha2 * math.log(layer.kernel))
    return 0.5 * math.log(channels * layer.kernel**2) + bit_entropy(layer.bits, settings)


def score_stages(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return, for each score stage, the index of the reference block it ends with.

    `strides` are those of stem, stages and head in order. A stage ends before every block of stride 2 except block 0,
    and at the last block.
    """
    ends = [index - 1 for index, stride in enumerate(strides) if stride == 2 and index > 0]
    return (*ends, len(strides) - 1)


def score_weights(strides: tuple[int, ...], ratios: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return for each block how often its entropy counts in the score, and the weight of ln(its out channels).

    `strides` are those of stem, stages and head in order, `ratios` the weights of the score stages. A block counts in
    every score stage that ends with it or later. Raises UserError where ratios and score stages differ in number.
    """
    ends = score_stages(strides)
    if len(ends) != len(ratios):
        raise UserError(f"stage ratios: expected {len(ends)}, one for each score stage, found {len(ratios)}")
    rated, blocks = list(zip(ratios, ends, strict=True)), range(len(strides))
    entropy = tuple(sum(ratio for ratio, end in rated if end >= block) for block in blocks)
    return entropy, tuple(sum(ratio for ratio, end in rated if end == block) for block in blocks)


def stage_scores(structure: Structure, settings: ScoreSettings = ScoreSettings()) -> tuple[float, ...]:
    """Return each score stage's weighted part; raises UserError where ratios and score stages differ in number."""
    blocks: tuple[Convolution | Stage, ...] = (structure.stem, *structure.stages, structure.head)
    ends = score_stages(tuple(block.stride for block in blocks))
    if len(ends) != len(settings.stage_ratios):
        raise UserError(
            f"stage ratios: expected {len(ends)}, one for each score stage of this structure, "
            f"found {len(settings.stage_ratios)}"
        )
    entropies = [0.0] * len(blocks)
    for layer in expand_layers(structure):
        if layer.position is not Position.CLASSIFIER:
            entropies[_block_index(layer, len(blocks))] += layer_entropy(layer, settings)
    sizes = feature_sizes(structure.resolution, tuple(block.stride for block in blocks))
    return tuple(
        ratio * _composed(settings.kind, sum(entropies[: end + 1]), blocks[end].out_channels, sizes[end])
        if ratio
        else 0.0
        for ratio, end in zip(settings.stage_ratios, ends, strict=True)
    )


def _composed(kind: ScoreKind, entropy: float, channels: int, size: int) -> float:
    if kind is ScoreKind.DEEPMAD:
        return entropy * (math.log(channels) + math.log(size**2))
    return entropy + math.log(channels)


def feature_sizes(resolution: int, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the square size in pixels behind each reference block, halved rounding down as the reference does."""
    sizes = []
    for stride in strides:
        # Never below a pixel, where the reference would take the logarithm of zero.
        resolution = max(1, resolution // stride)
        sizes.append(resolution)
    return tuple(sizes)


def qe_score(structure: Structure, settings: ScoreSettings = ScoreSettings()) -> float:
    """Return the score of `structure`: the QE-Score (Sun et al., NeurIPS 2022), in nats weighted by the stage ratios.

    With settings of another kind it is that score.
    """
    return sum(stage_scores(structure, settings))


def require_additive(settings: ScoreSettings, method: str) -> None:
    """Raise RequestError where the score is no sum over layers, which `method` needs."""
    if settings.kind is ScoreKind.DEEPMAD:
        raise RequestError(
            f"score {settings.kind}: the {method} method needs a score that is a sum over layers, and this one "
            "multiplies entropy by feature size: search with --method evolution, or take kind = 'madnas' in [score]"
        )


def _block_index(layer: Layer, blocks: int) -> int:
    if layer.position is Position.STEM:
        return 0
    if layer.position is Position.HEAD:
        return blocks - 1
    return int(layer.name.split(".")[0].removeprefix("stage"))
