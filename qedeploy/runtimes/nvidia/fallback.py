"""Taking the quantization of a layer out of a lowered network: for a GPU that has no INT8 kernel for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from qedeploy.network.operations import OperationKind
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import LayerPlan, ValuePlan


def without_quantization(network: LoweredNetwork, layers: Collection[str]) -> LoweredNetwork:
    """Return `network` with `layers` in float16: their weights as the numbers they stand for, their inputs unrounded.

    An input that a residual adds as well stays rounded, because the add needs it so; the plan's notes say what
    happened to each.
    """
    shared = _shortcuts(network)
    kept = tuple(value for value in network.plan.values if value.reader not in layers or value.name in shared)
    plan = dataclasses.replace(
        network.plan,
        layers=tuple(_float_plan(layer, kept) if layer.name in layers else layer for layer in network.plan.layers),
        values=kept,
        quantized_shortcuts=tuple(
            name for name in network.plan.quantized_shortcuts if name in {value.name for value in kept}
        ),
        notes=(*network.plan.notes, *(f"{name}: no INT8 kernel on this GPU, runs in float16" for name in layers)),
    )
    folded = {name: _float_layer(layer) if name in layers else layer for name, layer in network.layers.items()}
    return dataclasses.replace(network, plan=plan, layers=folded)


def _shortcuts(network: LoweredNetwork) -> set[str]:
    steps = {step.name: step for step in network.graph.operations}
    found = {step.inputs[1] for step in steps.values() if step.kind is OperationKind.ADD}
    pooled = {steps[name].inputs[0] for name in found if name in steps and _pools(steps[name].kind)}
    return found | pooled


def _pools(kind: OperationKind) -> bool:
    return kind is OperationKind.AVERAGE_POOL


def _float_plan(layer: LayerPlan, kept: tuple[ValuePlan, ...]) -> LayerPlan:
    still_read = any(value.reader == layer.name for value in kept)
    return dataclasses.replace(
        layer,
        lowering=Lowering.FLOAT16,
        executed=Lowering.FLOAT16.executed(layer.bits),
        input=layer.input if still_read else None,
        weight_low=None,
        weight_high=None,
    )


def _float_layer(layer: FoldedLayer) -> FoldedLayer:
    if layer.scale is None:
        return layer
    scale = layer.scale.reshape((-1,) + (1,) * (layer.weight.ndim - 1))
    # Rounded to float16 here, where the plan is made, and not first in the graph.
    weight = (layer.weight * scale).astype(np.float16).astype(np.float32)
    return dataclasses.replace(layer, weight=weight, scale=None)
