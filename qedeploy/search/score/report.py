"""What `qedeploy score` says of a structure: score, costs, both per layer, and where the score sees no difference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from qedeploy.errors import UserError
from qedeploy.network.costs import (
    BITOPS_PER_FLOP,
    Costs,
    convolutions,
    layer_flops,
    layer_size_bytes,
    memory_bytes,
    structure_costs,
)
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import Layer, Position, expand_layers
from qedeploy.network.structure import MAX_BITS, Structure
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.profiles.memory_plan import PlannedSram
from qedeploy.profiles.profile import Profile
from qedeploy.search.score.efficiency import efficient_score
from qedeploy.search.score.entropy import quantized_deviation
from qedeploy.search.score.kinds.qe_score import QeScore

BLIND_BELOW = 1e-3
"""Nats a layer: widths whose entropies are closer than this are the same width to the score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer's part. What the reference does not count is None: everything but MACs and bytes of the classifier."""

    layer: Layer
    entropy: float | None
    bitops: float | None
    executed_bitops: float | None
    size_bytes: float
    memory_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """Score and costs of one structure, the layers in execution order with the classifier last.

    `executed_bitops` and `sram` are those of a profile: None without one, `sram` also where it plans no memory.
    """

    source: str
    structure: Structure
    settings: QeScore
    score: float
    costs: Costs
    executed_bitops: float | None
    layers: tuple[LayerReport, ...]
    sram: PlannedSram | None = None


def score_report(
    structure: Structure, source: str, settings: QeScore = QeScore(), profile: Profile | None = None
) -> ScoreReport:
    """Return score and costs of `structure`; with a profile also the BitOps its device executes and the SRAM it plans.

    Raises UserError for settings that do not fit the structure, RequestError where the profile lacks a layer's widths.
    """
    try:
        score = settings.of(structure)
        layers = expand_layers(structure)
        executed = profile.executed_bits(layers) if profile else {}
        plan = memory_plan_of(profile.runtime) if profile else None
        sram = None if plan is None else plan.sram(structure_graph(structure))
    except UserError as error:
        raise type(error)(f"{source}: {error}") from error
    counted = convolutions(layers)
    alive = memory_bytes(counted)
    reports = []
    for index, layer in enumerate(layers):
        inside = index < len(counted)
        reports.append(
            LayerReport(
                layer=layer,
                entropy=settings.layer_entropy(layer) if inside else None,
                bitops=BITOPS_PER_FLOP * layer_flops(layer) if inside else None,
                executed_bitops=BITOPS_PER_FLOP * layer_flops(layer, executed[layer.name])
                if inside and profile
                else None,
                size_bytes=layer_size_bytes(layer),
                memory_bytes=alive[index] if inside else None,
            )
        )
    return ScoreReport(
        source=source,
        structure=structure,
        settings=settings,
        score=score,
        costs=structure_costs(structure),
        executed_bitops=sum(report.executed_bitops or 0.0 for report in reports) if profile else None,
        layers=tuple(reports),
        sram=sram,
    )


def report_document(report: ScoreReport, *, per_layer: bool = False) -> dict[str, Any]:
    """Return `report` as JSON-ready data; costs in operations and bytes, the score in nats."""
    document: dict[str, Any] = {
        "file": report.source,
        "score": report.score,
        **asdict(report.costs),
        "efficient_score": efficient_score(report.structure),
    }
    if report.executed_bitops is not None:
        document["executed_bitops"] = report.executed_bitops
    if report.sram is not None:
        document["sram_plan"] = report.sram.document()
    if per_layer:
        document["per_layer"] = [_layer_document(layer) for layer in report.layers]
    return document


def blind_above(sigma: float) -> int:
    """Return the narrowest width whose entropy at `sigma` is within `BLIND_BELOW` of the widest one's."""
    widest = math.log(quantized_deviation(sigma, MAX_BITS))
    return next(
        bits for bits in range(1, MAX_BITS + 1) if widest - math.log(quantized_deviation(sigma, bits)) < BLIND_BELOW
    )


def blind_layers(report: ScoreReport) -> tuple[str, ...]:
    """Return the layers with a width that the score cannot tell from a narrower one."""
    weight, activation = blind_above(report.settings.sigma_weight), blind_above(report.settings.sigma_activation)
    return tuple(
        item.layer.name
        for item in report.layers
        if item.layer.position is not Position.CLASSIFIER
        and (item.layer.bits.weight > weight or item.layer.bits.activation > activation)
    )


def _layer_document(report: LayerReport) -> dict[str, Any]:
    layer = report.layer
    document = {
        "name": layer.name,
        "kind": str(layer.category),
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "output_size": layer.output_size,
        "weight_bits": layer.bits.weight,
        "activation_bits": layer.bits.activation,
        "entropy": report.entropy,
        "macs": layer.macs,
        "bitops": report.bitops,
        "size_bytes": report.size_bytes,
        "memory_bytes": report.memory_bytes,
    }
    if report.executed_bitops is not None:
        document["executed_bitops"] = report.executed_bitops
    return document
