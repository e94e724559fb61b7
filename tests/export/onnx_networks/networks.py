"""Small float ONNX networks as other tools write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


class Maker:
    """Collects nodes and random weights of a network."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def constant(self, name: str, array: object) -> str:
        """Add a float32 constant."""
        self.weights[name] = np.asarray(array, np.float32)
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        """Add a node without a name, as PaddlePaddle writes them."""
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], **attributes))
        return output

    def conv(self, value: str, output: str, shape: tuple[int, ...], *, bias: bool = True, **attributes: object) -> str:
        """Add a convolution with weights of `shape` (out, in / groups, k, k) that keep the variance of a signal."""
        fan_in = int(np.prod(shape[1:]))
        names = [self.constant(f"{output}.w", self.generator.normal(0, (2 / fan_in) ** 0.5, shape))]
        if bias:
            names.append(self.constant(f"{output}.b", self.generator.normal(0, 0.1, shape[0])))
        pads = attributes.pop("pads", [shape[2] // 2] * 4)
        return self.node("Conv", [value, *names], output, kernel_shape=list(shape[2:]), pads=pads, **attributes)

    def batch_norm(self, value: str, output: str, channels: int) -> str:
        """Add a normalisation that is far from the identity."""
        draws = {
            "gamma": self.generator.uniform(0.5, 1.5, channels),
            "beta": self.generator.normal(0, 0.2, channels),
            "mean": self.generator.normal(0, 0.3, channels),
            "var": self.generator.uniform(0.5, 2, channels),
        }
        names = [self.constant(f"{output}.{role}", array) for role, array in draws.items()]
        return self.node("BatchNormalization", [value, *names], output)

    def hard_swish(self, value: str, output: str) -> str:
        """Add a hard swish in four nodes, as exporters wrote it before opset 14."""
        three, zero, six = (self.constant(f"number{n}", n) for n in (3.0, 0.0, 6.0))
        self.node("Add", [value, three], f"{output}.moved")
        self.node("Clip", [f"{output}.moved", zero, six], f"{output}.clipped")
        self.node("Mul", [value, f"{output}.clipped"], f"{output}.product")
        return self.node("Div", [f"{output}.product", six], output)

    def model(
        self,
        inputs: dict[str, Sequence[int | str | None]],
        outputs: Sequence[str],
        *,
        opset: int = 12,
        functions: Sequence[object] = (),
    ) -> onnx.ModelProto:
        """Return the model."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, FLOAT, sizes) for name, sizes in inputs.items()],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            initializer=[numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def mobile_network(
    *, opset: int = 12, sizes: Sequence[int | str | None] = ("batch", 3, "height", "width")
) -> onnx.ModelProto:
    """Return a classifier of four classes with what real mobile networks have.

    Normalisation, ReLU, hard swish in four nodes, scalar scales and shifts around it, a residual add, a depthwise
    convolution with padding, and a linear behind a pooling.
    """
    make = Maker()
    make.batch_norm(make.conv("image", "stem", (16, 3, 3, 3), bias=False, strides=[2, 2]), "stem.bn", 16)
    make.node("Relu", ["stem.bn"], "stem.relu")
    make.conv("stem.relu", "expand", (32, 16, 1, 1), pads=[0] * 4)
    make.node("Mul", [make.constant("lab.scale", [1.25]), "expand"], "expand.scaled")
    make.node("Add", ["expand.scaled", make.constant("lab.shift", [-0.1])], "expand.moved")
    make.hard_swish("expand.moved", "expand.act")
    make.node("Mul", [make.constant("act.scale", [0.8]), "expand.act"], "act.scaled")
    make.node("Add", ["act.scaled", make.constant("act.shift", [0.3])], "act.moved")
    make.conv("act.moved", "depthwise", (32, 1, 3, 3), group=32)
    make.node("Relu", ["depthwise"], "depthwise.relu")
    make.conv("depthwise.relu", "project", (16, 32, 1, 1), pads=[0] * 4)
    make.node("Add", ["project", "stem.relu"], "residual")
    make.conv("residual", "head", (24, 16, 1, 1), pads=[0] * 4)
    make.node("Relu", ["head"], "head.relu")
    make.node("GlobalAveragePool", ["head.relu"], "pool")
    make.node("Flatten", ["pool"], "flat")
    make.constant("linear.w", make.generator.normal(0, 0.3, (24, 4)))
    make.node("MatMul", ["flat", "linear.w"], "linear.product")
    make.node("Add", ["linear.product", make.constant("linear.b", make.generator.normal(0, 0.1, 4))], "linear")
    make.node("Softmax", ["linear"], "classes", axis=1)
    return make.model({"image": sizes}, ["classes"], opset=opset)


def write(model: onnx.ModelProto, folder: Path, name: str = "network.onnx") -> Path:
    """Write `model` into `folder`; returns the file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
