"""What each layer of a model is estimated to cost, to be set against what it is measured to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qedeploy.network.costs import BITOPS_PER_FLOP, layer_flops
from qedeploy.network.graph import Graph
from qedeploy.network.layers import Layer, LayerCategory, LayerKind
from qedeploy.network.structure import Bits


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEstimate:
    """One layer's cost for a whole batch.

    `nominal` and `executed` are None where a layer is in float32, whose 32 bits count in its BitOps. BitOps are those
    of the reference's accounting (normalisation and ReLU included) at nominal and at executed widths; the reference
    leaves the classifier out, here a linear layer counts MACs x widths. Layers of files that are not ours count MACs x
    widths throughout. `bytes_moved` are the layer's input, output and weights at the executed widths, each once.
    """

    name: str
    kind: LayerCategory
    nominal: Bits | None
    executed: Bits | None
    macs: int
    nominal_bitops: float
    executed_bitops: float
    bytes_moved: float
    lowering: str | None = None


def estimate(graph: Graph, executed: Mapping[str, Bits], batch: int = 1) -> tuple[LayerEstimate, ...]:
    """Return the estimate of every layer of `graph`; `executed` maps layer names to the widths computed in."""
    return tuple(_estimate(layer, executed.get(layer.name, layer.bits), batch) for layer in graph.layers)


def layer_bitops(layer: Layer, bits: Bits) -> float:
    """Return one image's BitOps of `layer` at the widths `bits`."""
    if layer.kind is LayerKind.LINEAR:
        return float(layer.macs * bits.weight * bits.activation)
    return layer_flops(layer, bits) * BITOPS_PER_FLOP


def _estimate(layer: Layer, executed: Bits, batch: int) -> LayerEstimate:
    values = math.prod(layer.input) + math.prod(layer.output)
    return LayerEstimate(
        name=layer.name,
        kind=layer.category,
        nominal=layer.bits,
        executed=executed,
        macs=layer.macs * batch,
        nominal_bitops=layer_bitops(layer, layer.bits) * batch,
        executed_bitops=layer_bitops(layer, executed) * batch,
        bytes_moved=values * batch * executed.activation / 8 + layer.weight_count * executed.weight / 8,
    )
