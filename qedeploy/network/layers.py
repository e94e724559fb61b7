"""A Structure expanded: the flat list of convolutions and the classifier, each with its name, shape and bits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from qedeploy.network.structure import Activation, Bits, Convolution, Stage, Structure
from qedeploy.network.window import POINT, Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Channels = TypeVar("_Channels", int, "NDArray[np.int64]")


Dimensions = tuple[int, ...]
"""Sizes of a value without its batch: (channels, height, width), or (features,) where it is flat."""


class LayerKind(StrEnum):
    """The operator of a layer."""

    CONVOLUTION = "convolution"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    LINEAR = "linear"


class Position(StrEnum):
    """Where in its network a layer stands, for those that a device may run otherwise than the rest."""

    STEM = "stem"
    HEAD = "head"
    CLASSIFIER = "classifier"


class LayerCategory(StrEnum):
    """What profiles, plans and reports call a layer: its position where it has one, else its kind."""

    STEM = "stem"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    HEAD = "head"
    CLASSIFIER = "classifier"
    CONVOLUTION = "convolution"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution or matrix product of a network.

    `name` is the same in PyTorch, in ONNX, in the engine and in every report (`stage3.block1.depthwise`). `input` are
    the sizes of what it reads; a linear layer reads all of its values. `activation` is what follows the layer's
    normalisation, behind the addition where the layer ends a residual block; None where nothing does.

    Layers of a Structure say more. `nominal_size` is the square input size in pixels, halved without rounding, which is
    what the reference's flops count. `residual` says that the layer's block adds its input to its output, `pooled` that
    the shortcut is average-pooled.
    """

    name: str
    kind: LayerKind
    input: Dimensions
    out_channels: int
    bits: Bits
    window: Window = POINT
    groups: int = 1
    position: Position | None = None
    activation: Activation | None = None
    nominal_size: float | None = None
    residual: bool = False
    pooled: bool = False

    @property
    def category(self) -> LayerCategory:
        """What profiles and reports call it."""
        return LayerCategory(self.position or self.kind)

    @property
    def block(self) -> str:
        """Name of the block the layer belongs to (`stage3.block1`), or the layer's own name outside a block."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def in_channels(self) -> int:
        """Channels that it reads: of a linear layer every value."""
        return math.prod(self.input) if self.kind is LayerKind.LINEAR else self.input[0]

    @property
    def output(self) -> Dimensions:
        """Sizes of what it makes; flat behind a linear layer."""
        if self.kind is LayerKind.LINEAR:
            return (self.out_channels,)
        _, height, width = self.input
        return (self.out_channels, *self.window.output((height, width)))

    @property
    def kernel(self) -> int:
        """Side of its square kernel; raises ValueError where it is none."""
        return _side(self.window.kernel)

    @property
    def stride(self) -> int:
        """Its stride where that is the same in height and width; raises ValueError elsewhere."""
        return _side(self.window.stride)

    @property
    def input_size(self) -> int:
        """Side of its square input in pixels; raises ValueError where it is none."""
        return _side(self.input[1:])

    @property
    def output_size(self) -> int:
        """Side of its square output in pixels; raises ValueError where it is none."""
        return _side(self.output[1:] or (1, 1))

    @property
    def nominal_area(self) -> float:
        """Pixels of input that flops are counted for: those it strides over, where no `nominal_size` is given."""
        if self.nominal_size is not None:
            return self.nominal_size**2
        return float(math.prod(self.output[1:]) * self.window.stride_area)

    @property
    def weight_shape(self) -> Dimensions:
        """Sizes of its weights: (out, in / groups, height, width), or (out, in) of a linear layer."""
        if self.kind is LayerKind.LINEAR:
            return (self.out_channels, self.in_channels)
        return (self.out_channels, self.in_channels // self.groups, *self.window.kernel)

    @property
    def weight_count(self) -> int:
        """Number of weights, without bias."""
        return math.prod(self.weight_shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, as a runtime executes them."""
        return self.weight_count * math.prod(self.output[1:])


def expand_layers(structure: Structure) -> tuple[Layer, ...]:
    """Return every layer in execution order: stem, three per block (two without `expand`), head, classifier.

    Stages and blocks count from 1; the layers of a block are `expand`, `depthwise` and `project`.
    """
    stem = _edge_layer(
        Position.STEM,
        structure.stem,
        structure.image_sizes,
        float(structure.resolution),
        structure.activation,
    )
    layers = [stem]
    behind_block = None if structure.linear_bottlenecks else structure.activation
    for number, stage in enumerate(structure.stages, start=1):
        layers.extend(_stage_layers(f"stage{number}", stage, layers[-1], structure.activation, behind_block))
    head = _edge_layer(
        Position.HEAD, structure.head, layers[-1].output, _nominal_output(layers[-1]), structure.activation
    )
    classifier = Layer(
        name="classifier",
        kind=LayerKind.LINEAR,
        position=Position.CLASSIFIER,
        input=(head.out_channels, 1, 1),
        out_channels=structure.classifier.classes,
        bits=structure.classifier.bits,
        nominal_size=1.0,
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


def convolution_kind(window: Window, in_channels: int, groups: int) -> LayerKind:
    """Return what a convolution of `window` is: depthwise where each channel has its own kernel, pointwise if 1x1."""
    if groups == in_channels > 1:
        return LayerKind.DEPTHWISE
    return LayerKind.POINTWISE if window.kernel == (1, 1) and groups == 1 else LayerKind.CONVOLUTION


def _edge_layer(
    position: Position, convolution: Convolution, read: Dimensions, nominal_size: float, activation: Activation
) -> Layer:
    window = Window.square(convolution.kernel, convolution.stride)
    return Layer(
        name=position.value,
        kind=convolution_kind(window, read[0], 1),
        position=position,
        input=read,
        out_channels=convolution.out_channels,
        bits=convolution.bits,
        window=window,
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
        inner = stage.bottleneck_channels
        plan = (
            ("expand", LayerKind.POINTWISE, inner, POINT, block.expand),
            ("depthwise", LayerKind.DEPTHWISE, inner, Window.square(stage.kernel, stride), block.depthwise),
            ("project", LayerKind.POINTWISE, stage.out_channels, POINT, block.project),
        )
        for role, kind, out_channels, window, bits in plan:
            if bits is None:
                continue
            layer = Layer(
                name=f"{name}.block{number}.{role}",
                kind=kind,
                input=before.output,
                out_channels=out_channels,
                bits=bits,
                window=window,
                groups=inner if kind is LayerKind.DEPTHWISE else 1,
                nominal_size=_nominal_output(before),
                residual=residual,
                pooled=residual and stride == 2,
                activation=behind_block if role == "project" else activation,
            )
            layers.append(layer)
            before = layer
    return layers


def _nominal_output(layer: Layer) -> float:
    """Return the square size behind `layer`, a layer of a Structure, not rounded."""
    return (layer.nominal_size or 0.0) / layer.stride


def _side(pair: Dimensions) -> int:
    height, width = pair
    if height != width:
        raise ValueError(f"expected the same in height and width, found {height} and {width}")
    return height
