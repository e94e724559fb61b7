"""The Structure: an immutable description of a network, the one thing every room understands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from qedeploy.errors import UserError

MAX_BITS = 16
"""Width that stands for "not quantized": the value stays floating point."""

MAX_SIZE = 1 << 20
"""Bound of every channel count and size: far above any network, and small enough that no cost overflows."""

MAX_BLOCKS = 1000
"""Bound of the inverted bottlenecks of a network: the deepest that were published have a few hundred layers."""

IMAGE_CHANNELS = 3
"""Channels of a Structure's input where nothing else is said, and of every search space's: red, green and blue."""

_STRICT: dict[str, Any] = {"extra": "forbid"}
"""How a file's data becomes these classes (read by pydantic, which this module does not import)."""


class StructureError(UserError, ValueError):
    """A structure that describes no network: the message names the field and what was expected there."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put `where` in front of the message of a StructureError that the block raises."""
    try:
        yield
    except StructureError as error:
        raise StructureError(f"{where}: {error}") from error


def _require_shape(kernel: int, stride: int) -> None:
    _require_int("kernel", kernel, 1)
    _require_int("stride", stride, 1)
    if kernel % 2 == 0:
        raise StructureError(f"kernel: expected an odd size, found {kernel}")
    if stride > 2:
        raise StructureError(f"stride: expected 1 or 2, found {stride}")


def _require_int(field: str, value: object, low: int, high: int = MAX_SIZE) -> None:
    # bool is an int to Python and never a width or a channel count to a person.
    if isinstance(value, bool) or not isinstance(value, int):
        raise StructureError(f"{field}: expected a whole number, found {value!r}")
    if not low <= value <= high:
        shown = value if abs(value) < 1 << 64 else "a far larger number"
        raise StructureError(f"{field}: expected {low} to {high}, found {shown}")


class Activation(StrEnum):
    """The nonlinearity between layers: max(x, 0), or that and at most 6."""

    RELU = "relu"
    RELU6 = "relu6"

    @property
    def ceiling(self) -> float | None:
        """Largest value it lets through, None where there is no bound."""
        return 6.0 if self is Activation.RELU6 else None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bits:
    """Bit widths of a layer's weights and of its input activations, each 1..16; 16 means not quantized."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    weight: int
    activation: int

    def __post_init__(self) -> None:
        for field, width in (("weight_bits", self.weight), ("activation_bits", self.activation)):
            _require_int(field, width, 1, MAX_BITS)

    def __str__(self) -> str:
        return f"W{self.weight}A{self.activation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution with batch normalisation and ReLU behind it: the stem or the head."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    out_channels: int
    kernel: int
    stride: int
    bits: Bits

    def __post_init__(self) -> None:
        _require_shape(self.kernel, self.stride)
        _require_int("out_channels", self.out_channels, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Bit widths of one inverted bottleneck: pointwise `expand`, depthwise, pointwise `project`.

    `expand` is None where the depthwise layer reads the block's input itself (MobileNetV2's first block).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    expand: Bits | None
    depthwise: Bits
    project: Bits

    @classmethod
    def uniform(cls, bits: Bits) -> Block:
        """Return a block whose three layers share `bits`."""
        return cls(expand=bits, depthwise=bits, project=bits)

    def layers(self) -> tuple[Bits, ...]:
        """Return the widths of the layers that there are, in the order in which data meets them."""
        return (self.depthwise, self.project) if self.expand is None else (self.expand, self.depthwise, self.project)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Inverted bottlenecks of one width: the first takes the stride and the channel change, the rest keep both."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    out_channels: int
    bottleneck_channels: int
    kernel: int
    stride: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        _require_shape(self.kernel, self.stride)
        _require_int("out_channels", self.out_channels, 1)
        _require_int("bottleneck_channels", self.bottleneck_channels, 1)
        if not self.blocks:
            raise StructureError("blocks: expected at least one block in a stage, found none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """The linear layer behind global average pooling."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    classes: int = 1000
    bits: Bits = Bits(weight=8, activation=8)

    def __post_init__(self) -> None:
        _require_int("classes", self.classes, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A whole network: stem, stages of inverted bottlenecks, head, classifier, and the square input it takes.

    `activation` follows every convolution; with `linear_bottlenecks` none follows a block (MobileNetV2), so that
    what blocks read is signed. A block adds its input where it has as many channels as its output.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    stem: Convolution
    stages: tuple[Stage, ...]
    head: Convolution
    classifier: Classifier = Classifier()
    resolution: int = 224
    input_channels: int = IMAGE_CHANNELS
    activation: Activation = Activation.RELU
    linear_bottlenecks: bool = False

    @property
    def image_sizes(self) -> tuple[int, int, int]:
        """Channels, height and width of what it reads."""
        return self.input_channels, self.resolution, self.resolution

    def __post_init__(self) -> None:
        _require_int("resolution", self.resolution, 1)
        _require_int("input_channels", self.input_channels, 1)
        if not self.stages:
            raise StructureError("stages: expected at least one stage, found none")
        blocks = sum(len(stage.blocks) for stage in self.stages)
        if blocks > MAX_BLOCKS:
            raise StructureError(f"stages: expected at most {MAX_BLOCKS} blocks in all, found {blocks}")
        in_channels = self.stem.out_channels
        for index, stage in enumerate(self.stages):
            with located(f"stages[{index}]"):
                _require_unexpanded_fit(stage, in_channels)
            in_channels = stage.out_channels


def _require_unexpanded_fit(stage: Stage, in_channels: int) -> None:
    for index, block in enumerate(stage.blocks):
        read = in_channels if index == 0 else stage.out_channels
        if block.expand is None and stage.bottleneck_channels != read:
            raise StructureError(
                f"blocks[{index}]: without an expand layer bottleneck_channels is what the block reads, {read}, "
                f"found {stage.bottleneck_channels}"
            )
