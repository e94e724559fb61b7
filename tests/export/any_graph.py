"""A network that is no Structure: a wide input, plain, grouped and dilated convolutions, and an addition between."""

from __future__ import annotations

from qedeploy.network.float_node import Constant, FloatNode
from qedeploy.network.graph import Graph
from qedeploy.network.layers import Dimensions, Layer, LayerKind, convolution_kind
from qedeploy.network.operations import IMAGE, Operation, OperationKind
from qedeploy.network.structure import Activation, Bits
from qedeploy.network.window import POINT, Window

W8A8 = Bits(weight=8, activation=8)
UNEVEN = Window(kernel=(3, 3), stride=(2, 2), padding=(0, 0, 1, 1))
DILATED = Window(kernel=(3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))
FLAT = Window(kernel=(1, 5), padding=(0, 2, 0, 2))
HALVING = Window.square(3, 2)


def convolution(
    name: str,
    source: str,
    read: Dimensions,
    channels: int,
    window: Window = POINT,
    *,
    groups: int = 1,
    activation: Activation | None = Activation.RELU,
    bits: Bits = W8A8,
) -> Operation:
    layer = Layer(
        name=name,
        kind=convolution_kind(window, read[0], groups),
        input=read,
        out_channels=channels,
        bits=bits,
        window=window,
        groups=groups,
        activation=activation,
    )
    return Operation(
        name=name,
        kind=OperationKind.CONVOLUTION,
        inputs=(source,),
        input=read,
        output=layer.output,
        activation=activation,
        layer=layer,
        nonnegative=activation is not None,
        ceiling=None if activation is None else activation.ceiling,
    )


def any_graph(bits: Bits = W8A8) -> Graph:
    """An image of 48x64 pixels, and two layers that read the same value."""
    first = convolution("features_0", IMAGE, (3, 48, 64), 16, UNEVEN, bits=bits)
    middle = convolution("features_1", "features_0", first.output, 16, DILATED, bits=bits, activation=Activation.RELU6)
    left = convolution("left", "features_1", middle.output, 16, FLAT, groups=2, bits=bits, activation=None)
    add = Operation(
        name="sum",
        kind=OperationKind.ADD,
        inputs=("left", "features_1"),
        input=left.output,
        output=left.output,
        activation=Activation.RELU,
        nonnegative=True,
    )
    down = convolution("down", "sum", add.output, 16, HALVING, groups=16, bits=bits)
    other = convolution("other", "sum", add.output, 16, HALVING, bits=bits)
    both = Operation(
        name="both",
        kind=OperationKind.ADD,
        inputs=("down", "other"),
        input=down.output,
        output=down.output,
        nonnegative=True,
    )
    point = convolution("point", "both", both.output, 24, bits=bits)
    pool = Operation(
        name="average",
        kind=OperationKind.GLOBAL_AVERAGE_POOL,
        inputs=("point",),
        input=point.output,
        output=(24, 1, 1),
        nonnegative=True,
    )
    linear = Layer(name="fc", kind=LayerKind.LINEAR, input=pool.output, out_channels=7, bits=bits)
    fc = Operation(
        name="fc",
        kind=OperationKind.LINEAR,
        inputs=("average",),
        input=linear.input,
        output=linear.output,
        layer=linear,
    )
    return Graph(input=(3, 48, 64), operations=(first, middle, left, add, down, other, both, point, pool, fc))


def float_operation(
    name: str, inputs: tuple[str, ...], read: Dimensions, made: Dimensions, node: FloatNode, *, nonnegative: bool = True
) -> Operation:
    return Operation(
        name=name,
        kind=OperationKind.FLOAT,
        inputs=inputs,
        input=read,
        output=made,
        node=node,
        nonnegative=nonnegative,
    )


def resize(mode: str, coordinates: str) -> FloatNode:
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    scales = Constant(element_type="float32", sizes=(4,), values=(1.0, 1.0, 2.0, 2.0))
    return FloatNode(op_type="Resize", attributes=attributes, constants={2: scales})


def float_nodes_graph(bits: Bits = W8A8) -> Graph:
    """A pyramid: pooled, widened again in two ways, joined, gated by its own sigmoid, and scaled; no classifier."""
    first = convolution("first", IMAGE, (1, 8, 12), 8, Window.square(3, 1), bits=bits)
    attributes = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    pooled = float_operation(
        "max", ("first",), first.output, (8, 4, 6), FloatNode(op_type="MaxPool", attributes=attributes)
    )
    deep = convolution("deep", "max", pooled.output, 8, bits=bits)
    wide = float_operation("wide", ("deep",), deep.output, (8, 8, 12), resize("nearest", "asymmetric"))
    smooth = float_operation("smooth", ("deep",), deep.output, (8, 8, 12), resize("linear", "half_pixel"))
    concat = FloatNode(op_type="Concat", attributes={"axis": 1})
    joined = float_operation("joined", ("first", "wide", "smooth"), first.output, (24, 8, 12), concat)
    out = convolution("out", "joined", joined.output, 5, bits=bits, activation=None)
    gate = float_operation("gate", ("out",), out.output, out.output, FloatNode(op_type="Sigmoid"))
    product = FloatNode(op_type="Mul")
    gated = float_operation("gated", ("out", "gate"), out.output, out.output, product, nonnegative=False)
    half = Constant(element_type="float32", sizes=(), values=(0.5,))
    halved = FloatNode(op_type="Mul", constants={0: half})
    last = float_operation("halved", ("gated",), gated.output, gated.output, halved, nonnegative=False)
    return Graph(input=(1, 8, 12), operations=(first, pooled, deep, wide, smooth, joined, out, gate, gated, last))
