"""A Structure expanded: the flat list of convolutions and the classifier, each with its name, shape and bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from qedeploy.network.structure import Activation, Bits, Convolution, Stage, Structure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Channels = TypeVar("_Channels", int, "NDArray[np.int64]")


class LayerKind(StrEnum):
    """What a device distinguishes when it says which bit pairs it executes."""

    STEM = "stem"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    HEAD = "head"
    CLASSIFIER = "classifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution or linear of a Structure.

    `name` is the same in PyTorch, in ONNX, in the engine and in every report (`stage3.block1.depthwise`).
    `input_size` and `output_size` are the square feature sizes in pixels that a runtime sees (halved, rounded up);
    `nominal_size` is the input size halved without rounding, which is what the reference's flops count.
    `residual` says that the layer's block adds its input to its output, `pooled` that the shortcut is average-pooled.
    `activation` is what follows the layer's normalisation, behind the addition where the layer ends a residual block;
    None where nothing does.
    """

    name: str
    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    bits: Bits
    input_size: int
    nominal_size: float
    residual: bool = False
    pooled: bool = False
    activation: Activation | None = Activation.RELU

    @property
    def block(self) -> str:
        """Name of the block the layer belongs to (`stage3.block1`), or the layer's own name outside a block."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def output_size(self) -> int:
        """Square output size in pixels."""
        return -(-self.input_size // self.stride)

    @property
    def groups(self) -> int:
        """Convolution groups: one per channel for a depthwise layer."""
        return self.in_channels if self.kind is LayerKind.DEPTHWISE else 1

    @property
    def weight_count(self) -> int:
        """Number of weights, without bias."""
        return self.in_channels * self.out_channels * self.kernel**2 // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, as a runtime executes them."""
        return self.weight_count * self.output_size**2


def expand_layers(structure: Structure) -> tuple[Layer, ...]:
    """Return every layer in execution order: stem, three per block (two without `expand`), head, classifier.

    Stages and blocks count from 1; the layers of a block are `expand`, `depthwise` and `project`.
    """
    stem = _convolution_layer(
        "stem",
        LayerKind.STEM,
        structure.stem,
        structure.input_channels,
        structure.resolution,
        float(structure.resolution),
        structure.activation,
    )
    layers = [stem]
    behind_block = None if structure.linear_bottlenecks else structure.activation
    for number, stage in enumerate(structure.stages, start=1):
        layers.extend(_stage_layers(f"stage{number}", stage, layers[-1], structure.activation, behind_block))
    last = layers[-1]
    head = _convolution_layer(
        "head",
        LayerKind.HEAD,
        structure.head,
        last.out_channels,
        last.output_size,
        last.nominal_size / last.stride,
        structure.activation,
    )
    classifier = Layer(
        name="classifier",
        kind=LayerKind.CLASSIFIER,
        in_channels=head.out_channels,
        out_channels=structure.classifier.classes,
        kernel=1,
        stride=1,
        bits=structure.classifier.bits,
        input_size=1,
        nominal_size=1.0,
        activation=None,
    )
    return (*layers, head, classifier)


def expanded_blocks(layers: Iterable[Layer]) -> frozenset[str]:
    """Return the names of the blocks that have an expand layer.

    Only their inner channels can be padded for a kernel's sake: in a block without one, the channels that go into the
    depthwise layer are also what the block before puts out.
    """
    return frozenset(layer.block for layer in layers if layer.name.endswith(".expand"))


def round_up(channels: _Channels, multiple: int) -> _Channels:
    """Return `channels`, a number or an array of them, filled up to a whole multiple."""
    return -(-channels // multiple) * multiple


def _convolution_layer(
    name: str,
    kind: LayerKind,
    convolution: Convolution,
    in_channels: int,
    input_size: int,
    nominal_size: float,
    activation: Activation,
) -> Layer:
    return Layer(
        name=name,
        kind=kind,
        in_channels=in_channels,
        out_channels=convolution.out_channels,
        kernel=convolution.kernel,
        stride=convolution.stride,
        bits=convolution.bits,
        input_size=input_size,
        nominal_size=nominal_size,
        activation=activation,
    )


def _stage_layers(
    name: str, stage: Stage, previous: Layer, activation: Activation, behind_block: Activation | None
) -> list[Layer]:
    layers: list[Layer] = []
    for number, block in enumerate(stage.blocks, start=1):
        before = layers[-1] if layers else previous
        stride = stage.stride if number == 1 else 1
        residual = before.out_channels == stage.out_channels
        plan = (
            ("expand", LayerKind.POINTWISE, before.out_channels, stage.bottleneck_channels, 1, 1, block.expand),
            ("depthwise", LayerKind.DEPTHWISE, stage.bottleneck_channels, stage.bottleneck_channels,
             stage.kernel, stride, block.depthwise),
            ("project", LayerKind.POINTWISE, stage.bottleneck_channels, stage.out_channels, 1, 1, block.project),
        )  # fmt: skip
        for role, kind, in_channels, out_channels, kernel, layer_stride, bits in plan:
            if bits is None:
                continue
            layer = Layer(
                name=f"{name}.block{number}.{role}",
                kind=kind,
                in_channels=in_channels,
                out_channels=out_channels,
                kernel=kernel,
                stride=layer_stride,
                bits=bits,
                input_size=before.output_size,
                nominal_size=before.nominal_size / before.stride,
                residual=residual,
                pooled=residual and stride == 2,
                activation=behind_block if role == "project" else activation,
            )
            layers.append(layer)
            before = layer
    return layers
