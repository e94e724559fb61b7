"""A Recipe: a search space before a device narrows it, with budgets, score settings and where to start."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.network.structure import Bits, Structure
from qedeploy.search.costs.registry import Budgets
from qedeploy.search.space.space import Choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Choices):
    """What to choose from and what to stay under.

    `bits` and `head_bits` are the pairs to choose from; None stands for the pairs that the profile executes natively.
    `budgets` are in base units (operations, bytes, layers, seconds). `start` are the structures evolution begins with,
    as the reference does: their widths need not be in the space.
    """

    name: str
    description: str
    bits: tuple[Bits, ...] | None
    head_bits: tuple[Bits, ...] | None
    classes: int
    classifier_bits: Bits
    budgets: Budgets
    start: tuple[Structure, ...]
