"""What is counted of a network: operations, weights, layers. The accounting is that of `network.costs`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qedeploy.network.costs import BITOPS_PER_FLOP, executed_bitops, structure_costs
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import AdditiveBudget, Budget, Part
from qedeploy.search.space.layers import Layers
from qedeploy.search.space.space import SearchSpace
from qedeploy.units import Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations(AdditiveBudget):
    """Operations, `scale` for each of the reference's flops, in the widths of the structure or in `executed` ones."""

    scale: float = 1.0
    executed: bool = False

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return multiplications by their widths, and the rest at one each."""
        del space
        widths = layers.pairs.executed_products if self.executed else layers.pairs.products
        every = np.ones(len(layers.pairs))
        return (layers.products, self.scale * widths), (layers.fixed_flops, self.scale * every)

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the operations of `structure`."""
        if not self.executed:
            return self.scale * structure_costs(structure).flops
        widths = {
            layer.name: space.executed[layer.category, layer.bits]
            for layer in expand_layers(structure)
            if layer.category is not LayerCategory.CLASSIFIER
        }
        return executed_bitops(structure, widths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size(AdditiveBudget):
    """Bytes of weights and scales."""

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return weights by their width, and the scales."""
        del space
        return (layers.weights, layers.pairs.weight / 8), (layers.scale_bytes, np.ones(len(layers.pairs)))

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the bytes of `structure`."""
        del space
        return structure_costs(structure).size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCount(AdditiveBudget):
    """How many convolutions there are."""

    def parts(self, space: SearchSpace, layers: Layers) -> tuple[Part, ...]:
        """Return one for each layer."""
        del space
        return ((np.array(1.0), np.ones(len(layers.pairs))),)

    def cost(self, structure: Structure, space: SearchSpace) -> float:
        """Return the convolutions of `structure`."""
        del space
        return float(structure_costs(structure).layers)

    def figure(self, cost: float) -> float:
        """Return a whole number."""
        return int(cost)

    def least_text(self, least: float) -> str:
        """Return a whole number."""
        return f"{least:.0f}"


BITOPS: Budget = Operations(
    name="bitops",
    key="bitops",
    label="nominal BitOps",
    step=(1e6, "a million BitOps"),
    order=0,
    scale=BITOPS_PER_FLOP,
)
EXECUTED_BITOPS: Budget = Operations(
    name="executed-bitops",
    key="executed_bitops",
    label="executed BitOps",
    step=(1e6, "a million executed BitOps"),
    order=1,
    scale=BITOPS_PER_FLOP,
    executed=True,
)
FLOPS: Budget = Operations(
    name="flops", key="flops", label="flops (BitOps / 64)", step=(1e6, "a million flops"), order=2
)
SIZE: Budget = Size(
    name="size",
    key="size_bytes",
    label="weights, no classifier",
    quantity=Quantity.BYTES,
    step=(1024.0, "a KiB of weights"),
    order=3,
)
LAYERS: Budget = LayerCount(name="layers", key="layers", label="convolutions", step=(1.0, "a convolution"), order=5)
