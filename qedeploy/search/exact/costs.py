"""Budgets that add up over layers, in the form the solver takes them.

A cost of a layer is given as a few products of a part that its shape decides and a factor that its widths decide:
`cost[..., pair] = sum over q of shape_q[...] * factor_q[pair]`. A latency has one part for each pair, with a factor
that is 1 at that pair and 0 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qedeploy.network.costs import BITOPS_PER_FLOP
from qedeploy.network.structure import Bits
from qedeploy.search.costs.layer_times import Place, constant_seconds, layer_times
from qedeploy.search.costs.terms import Array, LayerTerms, PairTerms
from qedeploy.search.space.space import BudgetKind, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShapes:
    """Layers of one place as arrays that broadcast together.

    `shortcut` says where the layer ends a block that adds its input. Strides and nominal square input: see Place.
    """

    in_channels: Array
    out_channels: Array
    kernel: Array
    place: Place
    terms: LayerTerms
    shortcut: Array | bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The (weight, activation) widths a layer chooses from, with what they contribute."""

    bits: tuple[Bits, ...]
    terms: PairTerms


Part = tuple[Array, Array]
"""A shape array and the factors of each pair it is multiplied with."""


class AdditiveCost(Protocol):
    """A cost that is `constant` plus a sum over the stem, every layer of every block, and the head."""

    @property
    def name(self) -> str:
        """How the command line calls the budget."""

    @property
    def limit(self) -> float:
        """The budget, inclusive, in the unit that `network.costs` counts, seconds for latency."""

    @property
    def constant(self) -> float:
        """What every structure pays before its first layer."""

    def parts(self, layers: LayerShapes, pairs: Pairs) -> tuple[Part, ...]:
        """Return the products whose sum is the cost of `layers` at each of `pairs`; shape parts are never negative.

        How many there are, and their factors, must not depend on the shapes.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedCost:
    """A cost of `network.costs`: BitOps, executed BitOps, flops, bytes or layers."""

    kind: BudgetKind
    limit: float
    constant: float = 0.0

    @property
    def name(self) -> str:
        """How the command line calls the budget."""
        return self.kind.value

    def parts(self, layers: LayerShapes, pairs: Pairs) -> tuple[Part, ...]:
        """Return the products whose sum is the cost of `layers` at each of `pairs`."""
        shape, widths = layers.terms, pairs.terms
        every = np.ones(len(pairs.bits))
        match self.kind:
            case BudgetKind.FLOPS:
                return (shape.products, widths.nominal), (shape.fixed_flops, every)
            case BudgetKind.BITOPS:
                return (shape.products, BITOPS_PER_FLOP * widths.nominal), (shape.fixed_flops, BITOPS_PER_FLOP * every)
            case BudgetKind.EXECUTED_BITOPS:
                return (shape.products, BITOPS_PER_FLOP * widths.executed), (shape.fixed_flops, BITOPS_PER_FLOP * every)
            case BudgetKind.SIZE:
                return (shape.weights, widths.weight_bytes), (shape.scale_bytes, every)
            case BudgetKind.LAYERS:
                return ((np.array(1.0), every),)
        raise ValueError(f"{self.kind} is not a sum over layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCost:
    """Seconds that the latency model of a space predicts."""

    limit: float
    space: SearchSpace
    name: str = BudgetKind.LATENCY.value

    @property
    def constant(self) -> float:
        """What every structure pays before its first layer."""
        return constant_seconds(self.space)

    def parts(self, layers: LayerShapes, pairs: Pairs) -> tuple[Part, ...]:
        """Return the seconds of `layers` at each pair, with a factor that picks them."""
        times = layer_times(self.space)
        place = layers.place
        index = times.index(place.role, layers.in_channels, layers.out_channels, layers.kernel, layers.shortcut)
        return tuple(zip(times.every_pair(place, pairs.bits, index), np.eye(len(pairs.bits)), strict=True))
