"""What a network computes, as a list of operations: the one order that every graph, executor and calibration walks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.network.layers import Layer, expand_layers
from qedeploy.network.structure import Activation, Structure

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
    reads (pixels, square); `activation` follows it. An add reads the convolution branch first and the shortcut second.
    `consumer` is the layer that reads the value through its activation quantizer, None where no layer reads it
    directly (a branch of an add, the head's output, the logits). `nonnegative` and `ceiling` bound the value made.
    """

    name: str
    kind: OperationKind
    inputs: tuple[str, ...]
    channels: int
    size: int
    activation: Activation | None = None
    layer: Layer | None = None
    consumer: str | None = None
    nonnegative: bool = False
    ceiling: float | None = None


def operations(structure: Structure) -> tuple[Operation, ...]:
    """Return the operations of `structure` in execution order."""
    *convolutions, classifier = expand_layers(structure)
    steps: list[Operation] = []
    value, block = IMAGE, _BlockInput(block="", value=IMAGE, step=None, size=structure.resolution)
    for layer, following in zip(convolutions, [*convolutions[1:], None], strict=True):
        if layer.block != block.block:
            block = _BlockInput(
                block=layer.block, value=value, step=steps[-1] if steps else None, size=layer.input_size
            )
        adds = layer.residual and layer.name.endswith(".project")
        consumer = following.name if following is not None and not adds else None
        activation = None if adds else layer.activation
        steps.append(
            Operation(
                name=layer.name,
                kind=OperationKind.CONVOLUTION,
                inputs=(value,),
                channels=layer.in_channels,
                size=layer.input_size,
                activation=activation,
                layer=layer,
                consumer=consumer,
                nonnegative=activation is not None,
                ceiling=activation.ceiling if activation is not None else None,
            )
        )
        if adds:
            steps.extend(_residual(layer, block, following))
        value = steps[-1].name
    return (*steps, *_classification(classifier, steps[-1], convolutions[-1].output_size))


def consumers(steps: Iterable[Operation]) -> dict[str, str]:
    """Return for each value, the image included, the layer whose activation quantizer reads it."""
    found = {step.name: step.consumer for step in steps if step.consumer is not None}
    return {IMAGE: "stem", **found}


@dataclass(frozen=True, slots=True, kw_only=True)
class _BlockInput:
    block: str
    value: str
    step: Operation | None
    size: int


def _classification(classifier: Layer, source: Operation, size: int) -> list[Operation]:
    channels = classifier.in_channels
    pool = Operation(
        name="pool",
        kind=OperationKind.GLOBAL_AVERAGE_POOL,
        inputs=(source.name,),
        channels=channels,
        size=size,
        consumer=classifier.name,
        nonnegative=source.nonnegative,
        ceiling=source.ceiling,
    )
    linear = Operation(
        name=classifier.name, kind=OperationKind.LINEAR, inputs=("pool",), channels=channels, size=1, layer=classifier
    )
    return [pool, linear]


def _residual(project: Layer, block: _BlockInput, following: Layer | None) -> list[Operation]:
    steps = []
    shortcut = block.value
    if project.pooled:
        shortcut = f"{project.block}.shortcut"
        pool = Operation(
            name=shortcut,
            kind=OperationKind.AVERAGE_POOL,
            inputs=(block.value,),
            channels=project.out_channels,
            size=block.size,
            nonnegative=block.step is not None and block.step.nonnegative,
            ceiling=block.step.ceiling if block.step is not None else None,
        )
        steps.append(pool)
    activation = project.activation
    add = Operation(
        name=f"{project.block}.add",
        kind=OperationKind.ADD,
        inputs=(project.name, shortcut),
        channels=project.out_channels,
        size=project.output_size,
        activation=activation,
        consumer=following.name if following is not None else None,
        nonnegative=activation is not None,
        ceiling=activation.ceiling if activation is not None else None,
    )
    return [*steps, add]
