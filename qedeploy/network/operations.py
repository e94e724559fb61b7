"""What a network computes, step by step: the operations that every graph, executor and calibration walks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.network.float_node import FloatNode
from qedeploy.network.layers import Dimensions, Layer
from qedeploy.network.structure import Activation

IMAGE = "image"
"""Name of the network's input value."""


class OperationKind(StrEnum):
    """What one step of the network does."""

    CONVOLUTION = "convolution"
    LINEAR = "linear"
    ADD = "add"
    AVERAGE_POOL = "average-pool"
    GLOBAL_AVERAGE_POOL = "global-average-pool"
    FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step. `inputs` names the values it reads; the value it makes carries its own name.

    `layer` is set for convolutions of every kind and for linears. `input` are the sizes of the first value that it
    reads, `output` those of what it makes; `activation` follows it. An add reads the branch with the weights first and
    the shortcut second; an average pool has windows of 2x2 pixels, those at the end of an odd size cut short.
    `node` is set for what is none of these and is computed in floating point. `nonnegative` and `ceiling` bound the
    value made.
    """

    name: str
    kind: OperationKind
    inputs: tuple[str, ...]
    input: Dimensions
    output: Dimensions
    activation: Activation | None = None
    layer: Layer | None = None
    node: FloatNode | None = None
    nonnegative: bool = False
    ceiling: float | None = None


def consumers(steps: Iterable[Operation]) -> dict[str, str]:
    """Return for each value that layers read, the image included, the first of them: its quantizer is the value's.

    A value that no layer reads (a branch of an add, what is pooled, the logits) is not in it.
    """
    found: dict[str, str] = {}
    for step in steps:
        if step.layer is not None:
            found.setdefault(step.inputs[0], step.name)
    return found
