"""What each layer of a model is estimated to cost, to be set against what it is measured to cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qedeploy.network.costs import BITOPS_PER_FLOP, layer_flops
from qedeploy.network.graph import Graph
from qedeploy.network.layer_use import LayerUse
from qedeploy.network.layers import Layer, LayerCategory, LayerKind
from qedeploy.network.structure import Bits

_FLOAT_WIDTH = 32


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
    return tuple(
        estimate_use(
            LayerUse(layer=layer, queries=batch), layer.bits, executed.get(layer.name, layer.bits), bitops=layer_bitops
        )
        for layer in graph.layers
    )


def estimate_use(
    use: LayerUse,
    nominal: Bits | None,
    executed: Bits | None,
    *,
    bitops: Callable[[Layer, Bits | None], float],
    lowering: str | None = None,
) -> LayerEstimate:
    """Return the estimate of a layer of any network, None for the widths of float32.

    `bitops` returns those of one query of a layer at some widths.
    """
    weight, activation = _widths(executed)
    return LayerEstimate(
        name=use.layer.name,
        kind=use.category,
        nominal=nominal,
        executed=executed,
        macs=use.macs,
        nominal_bitops=bitops(use.layer, nominal) * use.queries,
        executed_bitops=bitops(use.layer, executed) * use.queries,
        bytes_moved=use.values * activation / 8 + use.weights * weight / 8,
        lowering=lowering,
    )


def product_bitops(layer: Layer, bits: Bits | None) -> float:
    """Return MACs x widths of one query of `layer`."""
    weight, activation = _widths(bits)
    return float(layer.macs * weight * activation)


def layer_bitops(layer: Layer, bits: Bits | None) -> float:
    """Return one image's BitOps of `layer` at the widths `bits`, as the reference counts them."""
    if layer.kind is LayerKind.LINEAR or bits is None:
        return product_bitops(layer, bits)
    return layer_flops(layer, bits) * BITOPS_PER_FLOP


def _widths(bits: Bits | None) -> tuple[int, int]:
    return (_FLOAT_WIDTH, _FLOAT_WIDTH) if bits is None else (bits.weight, bits.activation)
