"""What a network computes, as a list of operations: the one order that every graph, executor and calibration walks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.network.layers import Layer, LayerKind, expand_layers
from qedeploy.network.structure import Structure

IMAGE = "image"
"""Name of the network's input value."""


class OperationKind(StrEnum):
    """What one step of the network does."""

    CONVOLUTION = "convolution"
    LINEAR = "linear"
    ADD = "add"
    AVERAGE_POOL = "average-pool"
    GLOBAL_AVERAGE_POOL = "global-average-pool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `inputs` names the values it reads; the value it makes carries its own name.

    `layer` is set for convolutions and the linear; `channels` and `size` are those of the value that the operation
    reads (pixels, square); `relu` says that a ReLU follows. An add reads the convolution
    branch first and the shortcut second. `consumer` is the layer that reads the value through its activation
    quantizer, None where no layer reads it directly (a branch of an add, the head's output, the logits).
    """

    name: str
    kind: OperationKind
    inputs: tuple[str, ...]
    channels: int
    size: int
    relu: bool = False
    layer: Layer | None = None
    consumer: str | None = None


def operations(structure: Structure) -> tuple[Operation, ...]:
    """Return the operations of `structure` in execution order."""
    layers = expand_layers(structure)
    steps: list[Operation] = []
    value = block_input = IMAGE
    block_size = structure.resolution
    for index, layer in enumerate(layers):
        following = layers[index + 1].name if index + 1 < len(layers) else None
        if layer.kind is LayerKind.CLASSIFIER:
            steps.extend(_classification(layer, value, layers[index - 1].output_size))
            break
        if layer.name.endswith(".expand"):
            block_input, block_size = value, layer.input_size
        ends_residual = layer.residual and layer.name.endswith(".project")
        steps.append(
            Operation(
                name=layer.name,
                kind=OperationKind.CONVOLUTION,
                inputs=(value,),
                channels=layer.in_channels,
                size=layer.input_size,
                relu=not ends_residual,
                layer=layer,
                consumer=None if ends_residual or layer.kind is LayerKind.HEAD else following,
            )
        )
        value = layer.name
        if ends_residual:
            steps.extend(_residual(layer, block_input, block_size, following))
            value = steps[-1].name
    return tuple(steps)


def consumers(steps: Iterable[Operation]) -> dict[str, str]:
    """Return for each value, the image included, the layer whose activation quantizer reads it."""
    found = {step.name: step.consumer for step in steps if step.consumer is not None}
    return {IMAGE: "stem", **found}


def _classification(classifier: Layer, value: str, size: int) -> list[Operation]:
    channels = classifier.in_channels
    pool = Operation(
        name="pool",
        kind=OperationKind.GLOBAL_AVERAGE_POOL,
        inputs=(value,),
        channels=channels,
        size=size,
        consumer=classifier.name,
    )
    linear = Operation(
        name=classifier.name, kind=OperationKind.LINEAR, inputs=("pool",), channels=channels, size=1, layer=classifier
    )
    return [pool, linear]


def _residual(project: Layer, block_input: str, pooled_from: int, following: str | None) -> list[Operation]:
    steps = []
    shortcut = block_input
    if project.pooled:
        shortcut = f"{project.block}.shortcut"
        pool = Operation(
            name=shortcut,
            kind=OperationKind.AVERAGE_POOL,
            inputs=(block_input,),
            channels=project.out_channels,
            size=pooled_from,
        )
        steps.append(pool)
    add = Operation(
        name=f"{project.block}.add",
        kind=OperationKind.ADD,
        inputs=(project.name, shortcut),
        channels=project.out_channels,
        size=project.output_size,
        relu=True,
        consumer=following,
    )
    return [*steps, add]
