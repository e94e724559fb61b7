"""What a dialect is: the graph that a runtime wants for numbers that are the same in every dialect."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, consumers
from qedeploy.network.structure import MAX_BITS, Bits
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.fold import FoldedLayer
from qedeploy.qdq.graph_builder import GraphBuilder
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.plan import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationPoint:
    """A quantization point that training did not have and the dialect needs, with the reason."""

    value: str
    bits: int
    signed: bool
    nonnegative: bool
    reason: str
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """A value that has been rounded: its name in floating point, and that of its integers where the graph has them.

    Integers have the logical shape of the value; `zero_point` is their offset. A dialect that hides a
    layout change behind the integers may return another value to compute with.
    """

    value: str
    integers: str | None
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """What may differ between a graph and its plan, because the graph's floating-point type rounds between integers.

    `share` of a quantized value's integers may be one step off. `optimize` says whether the runtime that verifies
    may optimise the graph.
    """

    share: float
    optimize: bool = True


EXACT = Rounding(share=0.001)
"""Float32 around the integers: only a sum that lands on a rounding boundary can differ."""


def is_integer(step: Operation | None, quantized: Collection[str]) -> bool:
    """Return whether `step` multiplies integers, where `quantized` names the values that a layer reads quantized."""
    if step is None or step.layer is None:
        return False
    return step.layer.bits.weight < MAX_BITS and step.inputs[0] in quantized


def own_shortcut(step: Operation | None, steps: Iterable[Operation], quantized: Collection[str]) -> bool:
    """Return whether `step`, which an addition reads as its shortcut, multiplies integers for nothing but additions.

    What a layer reads as well is rounded where that layer wants it, and stays in floating point where it does not.
    """
    return step is not None and is_integer(step, quantized) and step.name not in consumers(steps)


def new_points(found: Iterable[QuantizationPoint], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
    """Return each point of `found` once, without those of values that are quantized already."""
    return tuple({point.value: point for point in found if point.value not in quantized}.values())


class Dialect(Protocol):
    """The form in which one runtime wants its graph.

    Implementations hold no state; the writer walks the network and calls them.

    `write_*` add nodes to the graph and return the name of the value they made, in floating point unless said
    otherwise. Nodes are named after the layer, helpers get a suffix (`.quantize`, `.clip`, `.dequantize`, `.weight`).
    """

    @property
    def name(self) -> str:
        """What plans call the dialect."""
        ...

    @property
    def runtime(self) -> str:
        """The name of the runtime that the graphs are for."""
        ...

    @property
    def opset(self) -> int:
        """The ONNX opset of the graphs."""
        ...

    @property
    def lowerings(self) -> frozenset[Lowering]:
        """Lowerings that this dialect can write."""
        ...

    @property
    def integer_bias(self) -> bool:
        """Whether the runtime adds the bias of a quantized layer as a 32-bit integer, on the grid of its products."""
        ...

    @property
    def unsigned_activation_bits(self) -> int:
        """The widest unsigned activation that the dialect writes exactly; wider ones are signed."""
        ...

    @property
    def channel_multiple(self) -> int:
        """The multiple to which `arrange` pads the channels between the layers of a block, 1 if it leaves them."""
        ...

    @property
    def float_tolerance(self) -> float:
        """Largest error of a floating-point value, as a share of the largest one, that is rounding and nothing else."""
        ...

    @property
    def rounding(self) -> Rounding:
        """How the graph's own floating-point type may change the integers when it is verified."""
        ...

    def exact_form(self) -> Dialect | None:
        """Return the dialect with float32 in place of a narrower type, to be verified too; None if it has float32."""
        ...

    def highest_weight(self, lowering: Lowering, bits: Bits) -> int:
        """Return the largest weight integer that the type holds in which layers of `bits` with `lowering` are kept."""
        ...

    def points(self, steps: Iterable[Operation], quantized: Collection[str]) -> tuple[QuantizationPoint, ...]:
        """Return the extra points needed, where `quantized` names the values that a layer reads quantized."""
        ...

    def arrange(self, network: LoweredNetwork) -> LoweredNetwork:
        """Return `network` in the form that is fast on the runtime; the plan's notes list the changes."""
        ...

    def write_input(self, graph: GraphBuilder, value: str) -> str:
        """Bring the float32 input of the network to the type that the graph computes in."""
        ...

    def write_quantization(
        self,
        graph: GraphBuilder,
        value: str,
        name: str,
        grid: Grid,
        *,
        producer: Layer | None,
        reader: Layer | None,
    ) -> Quantized:
        """Round `value` to `grid`; `name` is the prefix of the nodes.

        `producer` is the layer that made the value, None for the image, an add or a pooling; `reader` the layer whose
        activation quantizer this is, None for an extra point.
        """
        ...

    def write_operation(
        self,
        graph: GraphBuilder,
        operation: Operation,
        inputs: Sequence[str],
        layer: FoldedLayer | None,
        grid: Grid | None,
        output_grid: Grid | None,
    ) -> str:
        """Write the nodes of one operation. `grid` is that of its first input, `output_grid` that of its output."""
        ...

    def write_output(self, graph: GraphBuilder, value: str, name: str) -> str:
        """Bring the logits to float32 under `name`, the graph's output."""
        ...
