"""A lowered network as LiteRT's operators: the same integers, channels last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.network.layers import Dimensions, Layer, LayerKind
from qedeploy.network.operations import IMAGE, Operation, OperationKind
from qedeploy.network.window import Window
from qedeploy.qdq.fold import FoldedLayer, groups_of
from qedeploy.qdq.lowered import LoweredNetwork, bias_integers
from qedeploy.qdq.plan import Grid
from qedeploy.runtimes.litert.dialect import halves
from qedeploy.runtimes.litert.int4 import HIGHEST_INT4
from qedeploy.runtimes.litert.padding import padding
from qedeploy.runtimes.litert.program import Call, Operator, Placement, Program, Tensor
from qedeploy.runtimes.litert.zero_points import LOWEST, lowest, zero_point

LOGITS = "logits"
"""Name of the output tensor."""


def translate(network: LoweredNetwork, batch: int = 1) -> Program:
    """Return `network`, arranged by the dialect, for a fixed batch.

    The input is the image on its grid, (batch, height, width, channels) of int8, the output the logits on theirs,
    (batch, classes). Raises RequestError naming a layer that LiteRT's operators do not compute.
    """
    return _Translation(network, batch).program()


class _Translation:
    """Collects tensors and calls while it walks the network."""

    def __init__(self, network: LoweredNetwork, batch: int) -> None:
        self._network = network
        self._grids = network.plan.grids()
        self._batch = batch
        self._tensors: dict[str, Tensor] = {}
        self._calls: list[Call] = []
        self._values: dict[str, str] = {}

    def program(self) -> Program:
        graph = self._network.graph
        self._computed(IMAGE, _channels_last(self._batch, graph.input), self._grids[IMAGE])
        self._bounded(IMAGE, IMAGE)
        for step in graph.operations:
            self._bounded(step.name, self._operation(step))
        result = self._values[graph.operations[-1].name]
        if len(graph.output) == 1:
            result = self._flattened(result, graph.output)
        return Program(tensors=self._tensors, calls=self._calls, source=IMAGE, result=result, values=self._values)

    def _operation(self, step: Operation) -> str:
        """Add the operators of one step but for its lower bound; returns the tensor that they make."""
        grid = self._grids[step.name]
        output = self._computed(step.name, _channels_last(self._batch, step.output), grid)
        inputs = tuple(self._values[name] for name in step.inputs)
        match step.kind:
            case OperationKind.ADD:
                self._call(Operator.ADD, inputs, output, grid)
            case OperationKind.AVERAGE_POOL if halves(step):
                self._average(step, inputs[0], output, grid)
            case OperationKind.AVERAGE_POOL:
                placement = Placement(same=True, kernel=(2, 2), stride=(2, 2))
                self._call(Operator.AVERAGE_POOL, inputs, output, None, placement)
            case OperationKind.GLOBAL_AVERAGE_POOL:
                axes = self._integers("spatial_axes", np.array([1, 2], np.int32))
                self._call(Operator.MEAN, (*inputs, axes), output, None)
            case _:
                if step.layer is None:
                    raise ValueError(f"{step.name}: a {step.kind} has no layer")
                self._layer(step.layer, inputs[0], self._grids[step.inputs[0]], output, grid)
        return output

    def _layer(self, layer: Layer, value: str, read: Grid, output: str, grid: Grid) -> None:
        folded = self._network.layers[layer.name]
        if folded.scale is None:
            raise ValueError(f"{layer.name}: expected integer weights")
        bias = self._integers(
            f"{layer.name}.bias",
            bias_integers(folded, read.step),
            (np.float64(read.step) * folded.scale.astype(np.float64)).astype(np.float32),
        )
        window, weight = _as_convolution(layer, folded)
        fitting = padding(window, self._size(value))
        depthwise = layer.kind is LayerKind.DEPTHWISE
        if fitting is None or (groups_of(layer, len(weight)) > 1 and not depthwise):
            what = "pads as its operators cannot" if fitting is None else "has groups, which its kernels lack"
            raise RequestError(f"{layer.name}: LiteRT does not compute it: it {what}; choose another profile")
        grown = np.pad(weight, ((0, 0), (0, 0), (0, fitting.rows), (0, fitting.columns)))
        # Depthwise kernels have their channels last, others their outputs first.
        arranged = grown.transpose(1, 2, 3, 0) if depthwise else grown.transpose(0, 2, 3, 1)
        held = self._weight(
            f"{layer.name}.weight",
            arranged,
            folded.scale,
            axis=3 if depthwise else 0,
            int4=folded.highest == HIGHEST_INT4,
        )
        self._call(
            Operator.DEPTHWISE if depthwise else Operator.CONVOLUTION,
            (value, held, bias),
            output,
            grid,
            Placement(same=fitting.same, stride=window.stride, dilation=window.dilation, kernel=grown.shape[2:]),
        )

    def _average(self, step: Operation, value: str, output: str, grid: Grid) -> None:
        """Average 2x2 pixels by a depthwise convolution: a pooling of LiteRT has one grid for input and output."""
        channels = step.input[0]
        scale = np.full(channels, 0.25, np.float32)
        read = self._grids[step.inputs[0]]
        weight = self._weight(f"{step.name}.weight", np.ones((1, 2, 2, channels), np.int8), scale, axis=3)
        bias = self._integers(
            f"{step.name}.bias", np.zeros(channels, np.int32), (read.step * scale.astype(np.float64)).astype(np.float32)
        )
        placement = Placement(kernel=(2, 2), stride=(2, 2))
        self._call(Operator.DEPTHWISE, (value, weight, bias), output, grid, placement)

    def _call(
        self,
        operator: Operator,
        inputs: tuple[str, ...],
        output: str,
        grid: Grid | None,
        placement: Placement = Placement(),
    ) -> None:
        relu = grid is not None and grid.low == 0
        self._calls.append(Call(operator=operator, inputs=inputs, output=output, relu=relu, placement=placement))

    def _bounded(self, name: str, tensor: str) -> None:
        """Bound a signed value of fewer than 8 bits from below; from above, and at zero, its operator does it."""
        grid = self._grids[name]
        self._values[name] = tensor
        if grid.low == 0 or lowest(grid) <= LOWEST:
            return
        made = self._tensors[tensor]
        bound = Tensor(
            name=f"{name}.bound",
            shape=(1,),
            scale=made.scale,
            zero_point=made.zero_point,
            data=np.array([lowest(grid)], np.int8),
        )
        self._tensors[bound.name] = bound
        self._values[name] = self._computed(f"{name}.clip", made.shape, grid)
        self._call(Operator.MAXIMUM, (tensor, bound.name), self._values[name], None)

    def _flattened(self, value: str, sizes: Dimensions) -> str:
        made = self._tensors[value]
        shape = (self._batch, *sizes)
        target = self._integers(f"{LOGITS}.shape", np.array(shape, np.int32))
        self._tensors[LOGITS] = Tensor(name=LOGITS, shape=shape, scale=made.scale, zero_point=made.zero_point)
        self._call(Operator.RESHAPE, (value, target), LOGITS, None)
        return LOGITS

    def _computed(self, name: str, shape: tuple[int, ...], grid: Grid) -> str:
        scale = np.array([grid.step], np.float32)
        self._tensors[name] = Tensor(name=name, shape=shape, scale=scale, zero_point=zero_point(grid))
        return name

    def _weight(
        self, name: str, data: NDArray[np.int8], scale: NDArray[np.float32], axis: int, *, int4: bool = False
    ) -> str:
        self._tensors[name] = Tensor(name=name, shape=data.shape, scale=scale, axis=axis, data=data, int4=int4)
        return name

    def _integers(self, name: str, data: NDArray[np.int32], scale: NDArray[np.float32] | None = None) -> str:
        self._tensors[name] = Tensor(name=name, shape=data.shape, dtype=np.int32, scale=scale, data=data)
        return name

    def _size(self, value: str) -> tuple[int, int]:
        _, height, width, _ = self._tensors[value].shape
        return height, width


def _as_convolution(layer: Layer, folded: FoldedLayer) -> tuple[Window, NDArray[np.int8]]:
    """Return the window and the weights, (out, in, height, width), of a layer as a convolution.

    A linear layer is one over its whole input: scales per output of a FULLY_CONNECTED are younger than many kernels in
    the field, those of a CONV_2D are not.
    """
    weight = folded.weight.astype(np.int8)
    if layer.kind is not LayerKind.LINEAR:
        return layer.window, weight
    channels, height, width = layer.input if len(layer.input) == 3 else (layer.input[0], 1, 1)
    return Window(kernel=(height, width)), weight.reshape(-1, channels, height, width)


def _channels_last(batch: int, sizes: Dimensions) -> tuple[int, ...]:
    channels, height, width = sizes if len(sizes) == 3 else (sizes[0], 1, 1)
    return batch, height, width, channels
