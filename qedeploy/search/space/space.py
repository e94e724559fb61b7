"""The search space: every structure a recipe allows on a profile, as the lists a solver chooses from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Classifier, Convolution
from qedeploy.profiles.memory_plan import MemoryPlan
from qedeploy.search.score.score import Score

if TYPE_CHECKING:
    from qedeploy.latency.predictor import LatencyModel

ROUND_CHANNELS = 8
"""Channels are multiples of this."""


class BitsPer(StrEnum):
    """Where a width may change: from one inverted bottleneck to the next, or from layer to layer."""

    BLOCK = "block"
    LAYER = "layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a recipe chooses from on any device. Tuples are sorted and without repeats, but for `strides`.

    Channels are multiples of 8. One stage for each stride; a stage's output `channels` do not decrease from the stem
    on; its bottleneck has `bottleneck_channels(out, ratio)`; all its blocks share kernel and bottleneck. `depths`
    lists, per stage, how many blocks it may have.
    """

    resolution: int
    stem_channels: tuple[int, ...]
    stem_kernel: int
    stem_stride: int
    stem_bits: Bits
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    ratios: tuple[float, ...]
    depths: tuple[tuple[int, ...], ...]
    bits_per: BitsPer
    head_channels: int
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace(Choices):
    """Choices of a recipe on a profile.

    `block_choices` are the width triples one block may take with `bits_per = block`. With `bits_per = layer` each of
    its layers takes any pair of `pairs` for its kind, independently. `pairs` has the kinds pointwise, depthwise and
    head; the stem and the classifier are fixed. `executed` gives, for each kind (stem included) and pair, the widths
    that the device computes in. `latency` predicts seconds where a latency table is in play; else none can be limited.
    `memory_plan` is how the device plans memory ahead, None where it does not.
    """

    block_choices: tuple[Block, ...]
    pairs: Mapping[LayerCategory, tuple[Bits, ...]]
    executed: Mapping[tuple[LayerCategory, Bits], Bits]
    classifier: Classifier
    latency: LatencyModel | None = None
    memory_plan: MemoryPlan | None = None

    def head(self, bits: Bits) -> Convolution:
        """Return the head of the space at one of its pairs."""
        return Convolution(out_channels=self.head_channels, kernel=1, stride=1, bits=bits)

    def stem(self, out_channels: int) -> Convolution:
        """Return the stem of the space at one of its widths."""
        return Convolution(
            out_channels=out_channels, kernel=self.stem_kernel, stride=self.stem_stride, bits=self.stem_bits
        )


def bottleneck_channels(out_channels: int, ratio: float) -> int:
    """Return the bottleneck of a stage: the nearest multiple of 8, halves to the even one, as the reference rounds."""
    return max(ROUND_CHANNELS, round(out_channels * ratio / ROUND_CHANNELS) * ROUND_CHANNELS)
