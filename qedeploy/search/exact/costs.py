"""Layers with what they bring the solver: the terms of the score, and the parts of every budgeted cost.

A cost of a layer is a few products of a part that its shape decides and a factor that its widths decide:
`cost[..., pair] = sum over q of shape_q[...] * factor_q[pair]`. A latency has one part for each pair, with a factor
that is 1 at that pair and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qedeploy.search.costs.budget import AdditiveBudget
from qedeploy.search.space.layers import Array, Layers
from qedeploy.search.space.space import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A budget that adds up over layers, with its limit."""

    budget: AdditiveBudget
    limit: float
    constant: float

    @property
    def name(self) -> str:
        """How the command line calls the budget."""
        return self.budget.name


@dataclass(frozen=True, slots=True)
class CostTerm:
    """A shape array and the factors of each pair it is multiplied with; `uniform` where these are all alike."""

    shape: Array
    factor: Array
    uniform: bool


@dataclass(frozen=True, slots=True)
class SolverLayers:
    """Layers with the score's terms, by shape and by pair, and the parts of each limited cost."""

    layers: Layers
    entropy: Array
    gains: Array
    costs: tuple[tuple[CostTerm, ...], ...]

    def row(self, number: int) -> SolverLayers:
        """Return the layers of one row of the first of four axes, which stays."""

        def at(values: Array) -> Array:
            return values[number : number + 1] if values.ndim == 4 and len(values) > 1 else values

        shapes = (self.layers.in_channels, self.layers.out_channels, self.layers.kernel)
        into, out, kernel = map(at, shapes)
        kept: dict[int, Array] = {}
        # The same array stays the same one: what two costs share is priced once.
        costs = tuple(
            tuple(CostTerm(kept.setdefault(id(p.shape), at(p.shape)), p.factor, p.uniform) for p in parts)
            for parts in self.costs
        )
        layers = replace(self.layers, in_channels=into, out_channels=out, kernel=kernel)
        return SolverLayers(layers, at(self.entropy), self.gains, costs)


def bring_terms(space: SearchSpace, limits: Sequence[Limit], layers: Layers, gains: Array) -> SolverLayers:
    """Return `layers` with their terms; `gains` are the score's of their pairs."""
    costs = []
    for limit in limits:
        parts = limit.budget.parts(space, layers)
        costs.append(tuple(CostTerm(shape, factor, bool((factor == factor[0]).all())) for shape, factor in parts))
    return SolverLayers(layers, space.score.shape_term(layers), gains, tuple(costs))
