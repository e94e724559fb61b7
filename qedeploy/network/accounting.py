"""Published figures next to recomputed ones: every way of counting that the sources leave open, and which one fits."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from qedeploy.network.costs import convolutions, structure_costs
from qedeploy.network.layers import Layer, Position, expand_layers
from qedeploy.network.structure import Activation, Block, Structure

REFERENCE_SIZE = "weights, 2 bytes a channel"
"""The accounting of the reference's model size, with the classifier's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """One way to count, its value in bytes or BitOps, and how it gives the published figure: rounded, cut, or not."""

    name: str
    value: float
    fits: str


def size_accountings(structure: Structure, published_megabytes: str) -> tuple[Accounting, ...]:
    """Return the sizes of `structure` in bytes, each against a published figure in MB (10^6 bytes).

    The classifier's weights are in both; the reference's size has two bytes for each output channel of a convolution.
    """
    layers = expand_layers(structure)
    weights = sum(layer.weight_count * layer.bits.weight / 8 for layer in layers)
    classifier = next(layer for layer in layers if layer.position is Position.CLASSIFIER)
    classifier_weights = classifier.weight_count * classifier.bits.weight / 8
    values = {
        "weights": weights,
        REFERENCE_SIZE: structure_costs(structure).size_bytes + classifier_weights,
    }
    return _against(values, published_megabytes, 6)


def bitops_accountings(structure: Structure, published_giga: str) -> tuple[Accounting, ...]:
    """Return the BitOps of `structure`, each against a published figure in 10^9.

    The reference counts normalisation, activations and pooling as 8-bit operations, and no classifier. Where the
    structure has blocks that the reference cannot draw, it is also counted as the reference would draw it.
    """
    layers = expand_layers(structure)
    products = sum(_product_bitops(layer) for layer in convolutions(layers))
    classifier = sum(_product_bitops(layer) for layer in layers if layer.position is Position.CLASSIFIER)
    reference = structure_costs(structure).bitops
    values = {
        "multiply-accumulates": products,
        "multiply-accumulates, classifier": products + classifier,
        "reference": reference,
        "reference, classifier": reference + classifier,
    }
    drawn = as_reference_draws(structure)
    if drawn != structure:
        redrawn = structure_costs(drawn).bitops
        values |= {"reference's blocks": redrawn, "reference's blocks, classifier": redrawn + classifier}
    return _against(values, published_giga, 9)


def as_reference_draws(structure: Structure) -> Structure:
    """Return `structure` in blocks that the reference has: each with an expand layer and ReLUs.

    A block without one gets an expand layer of the depthwise layer's widths.
    """
    stages = tuple(
        dataclasses.replace(stage, blocks=tuple(_expanded(block) for block in stage.blocks))
        for stage in structure.stages
    )
    return dataclasses.replace(structure, stages=stages, activation=Activation.RELU, linear_bottlenecks=False)


def _expanded(block: Block) -> Block:
    return block if block.expand is not None else dataclasses.replace(block, expand=block.depthwise)


def _product_bitops(layer: Layer) -> float:
    area = layer.nominal_area / layer.window.stride_area
    return layer.weight_count * area * layer.bits.weight * layer.bits.activation


def _against(values: dict[str, float], published: str, exponent: int) -> tuple[Accounting, ...]:
    wanted = Decimal(published)
    return tuple(
        Accounting(name=name, value=value, fits=_fit(Decimal(value).scaleb(-exponent), wanted))
        for name, value in values.items()
    )


def _fit(value: Decimal, wanted: Decimal) -> str:
    if value.quantize(wanted, rounding=ROUND_HALF_EVEN) == wanted:
        return "rounded"
    return "cut" if value.quantize(wanted, rounding=ROUND_DOWN) == wanted else ""
