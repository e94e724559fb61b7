"""A Recipe: a search space before a device narrows it, with budgets, score settings and where to start."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.network.structure import Bits, Structure
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.score.score import Score
from qedeploy.search.space.space import BitsPer


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to choose from and what to stay under.

    Channels are multiples of 8. `depths` lists, per stage, how many blocks it may have. `bits` and `head_bits` are the
    pairs to choose from; None stands for the pairs that the profile executes natively. `budgets` are in base units
    (operations, bytes, layers, seconds). `start` are the structures evolution begins with, as the reference does: their
    widths need not be in the space.
    """

    name: str
    description: str
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
    bits: tuple[Bits, ...] | None
    bits_per: BitsPer
    head_channels: int
    head_bits: tuple[Bits, ...] | None
    classes: int
    classifier_bits: Bits
    budgets: Budgets
    score: Score
    start: tuple[Structure, ...]
