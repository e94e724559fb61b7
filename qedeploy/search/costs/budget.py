"""What a budget is: a cost of structures that can be limited, with its name and unit, and as arrays what layers cost.

A budget that adds up over layers is one file in `budgets/` (or a module of one's own that calls `registry.add_budget`):
a frozen dataclass with `parts`, and one instance of it. The exact search, evolution, `verify` and all that is printed
then take it like the budgets that are there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from qedeploy.network.structure import Structure
from qedeploy.search.costs.lower_bounds import least_sum
from qedeploy.search.costs.population import Population
from qedeploy.search.space.layers import Array, Layers, structure_layers
from qedeploy.search.space.space import SearchSpace
from qedeploy.units import Quantity, format_bytes, format_count, format_duration

Part = tuple[Array, Array]
"""A shape array and the factors of each pair it is multiplied with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(ABC):
    """A cost that can be limited. Costs are in base units: operations, bytes, layers, seconds.

    `name` is what the command line calls it, `key` what search.json does, `label` what a person reads. `step` is the
    step whose worth in score a person can grasp, and its name. `order` is its place among the others in lists.
    """

    name: str
    key: str
    label: str
    quantity: Quantity = Quantity.COUNT
    step: tuple[float, str]
    order: int = 100

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the cost of `structure`, layer by layer: by this figure structures are judged."""

    @abstractmethod
    def costs(self, space: SearchSpace, population: Population) -> Array:
        """Return the costs of N structures, [N]."""

    @abstractmethod
    def least(self, space: SearchSpace) -> float:
        """Return the least cost that a structure of `space` has."""

    def known(self, space: SearchSpace) -> bool:
        """Say whether the cost is known for the structures of `space`."""
        del space
        return True

    def figure(self, cost: float) -> float:
        """Return a cost as JSON has it."""
        return cost

    def text(self, cost: float) -> str:
        """Return a cost with its unit, as a person reads it."""
        if self.quantity is Quantity.DURATION:
            return format_duration(cost)
        return format_bytes(cost) if self.quantity is Quantity.BYTES else format_count(cost)

    def least_text(self, least: float) -> str:
        """Return `least` rounded up to what a person can put in as a limit that is met."""
        if self.quantity is Quantity.DURATION:
            scale = 10.0 ** (3 - math.floor(math.log10(least)))
            return self.text(math.ceil(least * scale) / scale)
        exact = f"{math.ceil(least)}{' B' if self.quantity is Quantity.BYTES else ''}"
        short = self.text(least)
        return exact if short == exact else f"{short} ({exact})"

    @property
    def axis(self) -> str:
        """What a plot's axis counts."""
        return "bytes" if self.quantity is Quantity.BYTES else "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveBudget(Budget):
    """A cost that is `constant` plus a sum over the stem, every layer of every block, and the head.

    Where `parts` are whole multiples of a power of two (operations, bytes, layers, ticks of a clock), sums are exact in
    whatever order they are added up, and a limit that equals a cost is met.
    """

    @abstractmethod
    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return products, shape times factor of each pair, whose sum is the cost of `layers` at each of their pairs.

        Shapes are never negative. How many there are, and their factors, must not depend on the shapes.
        """

    def constant(self, space: SearchSpace) -> float:
        """Return what every structure pays before its first layer."""
        del space
        return 0.0

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the sum over the layers of `structure`, each on its own."""
        layers = (layers for _, layers in structure_layers(structure, space.executed))
        products = (float(shape) * float(factor[0]) for one in layers for shape, factor in self.parts(space, one))
        return math.fsum([self.constant(space), *products])

    def costs(self, space: SearchSpace, population: Population) -> Array:
        """Return the costs of N structures, [N]."""
        total = np.full(population.count, self.constant(space))
        for layers, chosen in population.layers():
            total += self.chosen(space, layers, chosen)
        return total

    def chosen(self, space: SearchSpace, layers: Layers, chosen: Array) -> Array:
        """Return the costs of `layers` at the pairs `chosen` [blocks, N], added over the blocks, [N].

        The number behind the last pair stands for a block that is not there.
        """
        found = np.zeros(chosen.shape[1])
        for shape, factor in self.parts(space, layers):
            if np.all(factor == factor[0]):
                found += shape * (factor[0] * (chosen < factor.size).sum(axis=0))
            else:
                found += shape * np.append(factor, 0.0)[chosen].sum(axis=0)
        return found

    def least(self, space: SearchSpace) -> float:
        """Return the least cost that a structure of `space` has."""
        return self.constant(space) + least_sum(space, self.parts)
