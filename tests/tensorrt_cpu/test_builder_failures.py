"""What TensorRT refuses, and what crashes it, comes back as one line that names file and layer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qedeploy.errors import RequestError, UserError
from qedeploy.runtimes.nvidia.child import ChildCrashedError
from qedeploy.runtimes.nvidia.engine import build_engine
from qedeploy.runtimes.nvidia.refusals import refusal
from tests.tensorrt_cpu.models import lowered, structure, write

LAYER = "stage1.block1.expand"
WEIGHTS = f"{LAYER}.weight"


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(item for item in model.graph.node if item.name == name)


def replace(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    old = next(item for item in model.graph.initializer if item.name == tensor.name)
    old.CopyFrom(tensor)


def float32_bias(model: onnx.ModelProto) -> None:
    replace(model, numpy_helper.from_array(np.zeros(32, np.float32), f"{LAYER}.bias"))


def zero_scale(model: onnx.ModelProto) -> None:
    replace(model, numpy_helper.from_array(np.zeros(32, np.float16), f"{WEIGHTS}.scale"))


def too_few_scales(model: onnx.ModelProto) -> None:
    replace(model, numpy_helper.from_array(np.ones(17, np.float16), f"{WEIGHTS}.scale"))
    replace(model, numpy_helper.from_array(np.zeros(17, np.int8), f"{WEIGHTS}.zero_point"))


def unknown_operation(model: onnx.ModelProto) -> None:
    node(model, f"{LAYER}.relu").op_type = "Det"


def integer_bias(model: onnx.ModelProto) -> None:
    replace(model, numpy_helper.from_array(np.zeros(32, np.int32), f"{LAYER}.bias"))
    scale = numpy_helper.from_array(np.ones(32, np.float16), "bias.scale")
    model.graph.initializer.append(scale)
    dequantize = helper.make_node(
        "DequantizeLinear", [f"{LAYER}.bias", "bias.scale"], ["bias"], name=f"{LAYER}.bias.dequantize", axis=0
    )
    model.graph.node.insert(0, dequantize)
    node(model, LAYER).input[2] = "bias"


def four_bit_convolution(model: onnx.ModelProto) -> None:
    shape = (32, 16, 1, 1)
    replace(model, helper.make_tensor(WEIGHTS, TensorProto.INT4, shape, [1] * 512))
    zero = helper.make_tensor(f"{WEIGHTS}.zero_point", TensorProto.INT4, (32,), [0] * 32)
    replace(model, zero)


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[Callable[[onnx.ModelProto], None]], str]:
    """Builds a good model that was changed, and returns what is said of it."""

    def run(change: Callable[[onnx.ModelProto], None]) -> str:
        path = write(lowered(structure()), tmp_path / "model.onnx")
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())
        with pytest.raises(RequestError) as caught:
            build_engine(path, tmp_path / "engine.plan", version="11.4.0.106", gpu=None, metadata=None)
        said = str(caught.value)
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        assert sorted(item.name for item in tmp_path.iterdir()) == ["model.onnx"]
        return said

    return run


@pytest.mark.parametrize(
    ("change", "named", "reason"),
    [
        (float32_bias, f"layer {LAYER}, node {LAYER} (Conv)", "must be of same type"),
        (zero_scale, f"layer {LAYER}, node {WEIGHTS}.dequantize (DequantizeLinear)", "must all be positive"),
        (too_few_scales, f"layer {LAYER}, node {WEIGHTS}.dequantize", "number of scales = 17"),
        (unknown_operation, f"layer {LAYER}, node {LAYER}.relu (Det)", "TensorRT has no such operation"),
        (integer_bias, f"layer {LAYER}, node {LAYER}.bias.dequantize", "input has type Int32"),
    ],
)
def test_what_the_parser_refuses_names_the_layer(attempt, change, named, reason):
    said = attempt(change)
    assert "cannot read this graph" in said
    assert named in said
    assert reason in said


def test_what_the_builder_refuses_comes_with_its_reason(attempt):
    # There is no INT4 convolution in TensorRT: this is why 2 to 7 bits are carried in INT8.
    said = attempt(four_bit_convolution)
    assert "cannot build this graph" in said
    assert "CHECK(dtype == W.type())" in said


def test_a_crash_of_the_builder_is_a_message(tmp_path):
    path = tmp_path / "left.onnx"
    path.write_bytes(_weights_on_the_left().SerializeToString())
    with pytest.raises(ChildCrashedError, match=r"left\.onnx: TensorRT crashed \(signal 11, SIGSEGV\) while building"):
        build_engine(path, tmp_path / "engine.plan", version="11.4.0.106", gpu=None, metadata=None)
    assert ChildCrashedError.exit_code == 3
    assert [item.name for item in tmp_path.iterdir()] == ["left.onnx"]


def _weights_on_the_left() -> onnx.ModelProto:
    shape = (256, 256)
    weights = helper.make_tensor("w", TensorProto.INT4, shape, [1] * (256 * 256))
    scale = numpy_helper.from_array(np.full((256, 2), 0.01, np.float16), "s")
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], name="x.cast", to=TensorProto.FLOAT16),
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"], name="w.dequantize", axis=1, block_size=128),
        helper.make_node("MatMul", ["wd", "half"], ["product"], name="product"),
        helper.make_node("Cast", ["product"], ["y"], name="y.cast", to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "left",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [256, 196])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [256, 196])],
        initializer=[weights, scale],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


LOAD = """
import sys, json
import tensorrt
from qedeploy.runtimes.nvidia.messages import Messages, logger
for path in sys.argv[1:]:
    messages = Messages(lambda event: None)
    log = logger(tensorrt, messages)
    with open(path, "rb") as stream:
        assert tensorrt.Runtime(log).deserialize_cuda_engine(stream.read()) is None
    print(json.dumps(messages.errors))
"""


def test_what_is_no_plan_is_told_from_a_plan_cut_short(tmp_path):
    """The runtime checks a plan's header before it asks for a GPU, so its own words can be had without one."""
    onnx_file = write(lowered(structure()), tmp_path / "model.onnx")
    plan = tmp_path / "engine.plan"
    build_engine(onnx_file, plan, version="11.4.0.106", gpu=None, metadata=None)
    cut = tmp_path / "cut.plan"
    cut.write_bytes(plan.read_bytes()[:20_000])
    files = [onnx_file, cut, plan]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, files)], capture_output=True, text=True, check=True, timeout=60
    )
    errors = [json.loads(line) for line in done.stdout.splitlines()]
    found = [refusal(path, said, "11.4.0.106") for path, said in zip(files, errors, strict=True)]
    assert "not a TensorRT plan" in str(found[0])
    assert type(found[0]) is UserError
    assert "cut short" in str(found[1])
    assert type(found[1]) is UserError
    assert "no usable NVIDIA driver" in str(found[2])
    assert found[2].exit_code == 4
