"""Which integers a processor multiplies exactly: on made-up processors, against sums in 16 bits done one by one."""

from __future__ import annotations

import dataclasses
import io
import itertools

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from qedeploy.cli.measure_tables import warn_of_other_machine
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.plan import StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.processor import Processor, instruction_sets
from qedeploy.runtimes.registry import dialect_for
from qedeploy.runtimes.saturation import (
    kernels,
    may_saturate,
    mismatch,
    products_of,
    saturates,
    suited_profile,
    wide_layers,
)
from tests.export.networks import random_trained, small_structure

HASWELL = Processor(architecture="x86_64", instruction_sets=("avx2",))
SKYLAKE_X = Processor(architecture="x86_64", instruction_sets=("avx2", "avx512f"))
CASCADE_LAKE = Processor(architecture="x86_64", instruction_sets=("avx2", "avx512f", "avx512_vnni"))
ALDER_LAKE = Processor(architecture="AMD64", instruction_sets=("avx2", "avx_vnni"))
OLD_ARM = Processor(architecture="aarch64", instruction_sets=())
UNKNOWN = Processor(architecture="x86_64", instruction_sets=())


def written(bits: Bits, profile: str, *, seed: int = 0, signed: bool = False) -> onnx.ModelProto:
    structure = small_structure(bits)
    structure = dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=bits),
        classifier=dataclasses.replace(structure.classifier, bits=bits),
    )
    dialect = dialect_for("onnxruntime")
    trained = random_trained(structure, seed=seed, signed=signed)
    images = random_images(structure.image_sizes, 2, 0)
    return write_model(lower(trained, load_profile(profile), dialect, images, StepSource.RANDOM), dialect).model


def integers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in arrays.items() if array.dtype == np.int8 and array.ndim > 1}


@pytest.mark.parametrize(
    ("processor", "expected", "profile"),
    [
        (HASWELL, True, "cpu-int8-avx2"),
        (SKYLAKE_X, True, "cpu-int8-avx2"),
        (UNKNOWN, True, "cpu-int8-avx2"),
        (CASCADE_LAKE, False, "cpu-int8"),
        (ALDER_LAKE, False, "cpu-int8"),
        (OLD_ARM, False, "cpu-int8"),
    ],
)
def test_the_profile_of_a_processor(processor, expected, profile):
    assert saturates(processor) is expected
    assert suited_profile("onnxruntime", processor) == profile
    assert ("without VNNI" in kernels(processor)) is expected


def test_a_profile_of_another_processor_is_told_with_the_right_one():
    vnni, avx2 = load_profile("cpu-int8"), load_profile("cpu-int8-avx2")
    assert mismatch(vnni, CASCADE_LAKE) == mismatch(avx2, HASWELL) == ""
    told = mismatch(vnni, HASWELL)
    assert "weights of 8 bits, whose products may saturate" in told
    assert told.endswith("Take --profile cpu-int8-avx2.")
    assert mismatch(avx2, CASCADE_LAKE).endswith("with --profile cpu-int8.")
    own = dataclasses.replace(vnni, name="mine")
    assert "may saturate" in mismatch(own, SKYLAKE_X)
    assert mismatch(own, OLD_ARM) == mismatch(own, ALDER_LAKE) == ""


def test_measure_says_before_it_begins_that_the_profile_is_for_other_machines(monkeypatch):
    monkeypatch.setattr("qedeploy.runtimes.processor.this_processor", lambda: HASWELL)
    told = io.StringIO()
    console = Console(file=told, markup=False)
    warn_of_other_machine(console, "cpu-int8", "a-cluster")
    warn_of_other_machine(console, "cpu-int8-avx2", None)
    warn_of_other_machine(console, "stm32f746-cmix", None)
    assert told.getvalue() == ""
    warn_of_other_machine(console, "cpu-int8", None)
    assert told.getvalue().startswith("warning: Profile cpu-int8 has weights of 8 bits")


def test_the_flags_of_a_kernel_make_a_processor():
    sets = instruction_sets(["fpu", "sse2", "avx2", "avx512f", "avx512_vnni"])
    assert not saturates(Processor(architecture="x86_64", instruction_sets=sets))


@given(st.lists(st.integers(-128, 127), min_size=2, max_size=6))
def test_two_weights_saturate_where_some_pair_of_bytes_makes_them(weights):
    """Every pair of weights with the bytes that make the largest and the smallest sum, as vpmaddubsw adds them."""
    reachable = False
    for first, second in itertools.combinations(weights, 2):
        for left, right in itertools.product((0, 255), repeat=2):
            total = left * first + right * second
            reachable |= not -(2**15) <= total <= 2**15 - 1
    assert may_saturate(np.array([weights], np.int8)) is reachable


def test_a_single_input_has_no_pair():
    assert not may_saturate(np.full((3, 1), 127, np.int8))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", range(2, 8))
def test_weights_of_seven_bits_and_less_never_saturate(width, signed):
    """The integers as the file has them: narrow ones are held in multiples of a power of two."""
    model = written(Bits(weight=width, activation=8), "cpu-int8-avx2", seed=width, signed=signed)
    found = integers(model)
    assert len(found) >= 5
    assert max(np.abs(array.astype(int)).max() for array in found.values()) <= 64
    assert products_of(model, "cpu-int8-avx2", "onnxruntime", HASWELL).inexact == ()


def test_eight_bits_of_weight_are_told_where_there_is_no_vnni():
    model = written(Bits(weight=8, activation=8), "cpu-int8")
    assert max(np.abs(array.astype(int)).max() for array in integers(model).values()) > 64
    told = products_of(model, "cpu-int8", "onnxruntime", HASWELL)
    assert told.inexact
    assert not any(name.endswith("depthwise") for name in told.inexact)
    assert "without VNNI" in told.doubt
    assert "cpu-int8-avx2" in told.advice
    here = products_of(model, "cpu-int8", "onnxruntime", CASCADE_LAKE)
    assert (here.inexact, here.doubt, here.advice) == ((), "", "")


def test_seven_bits_are_not_wanted_where_there_is_vnni():
    model = written(Bits(weight=7, activation=8), "cpu-int8-avx2")
    assert "--profile cpu-int8." in products_of(model, "cpu-int8-avx2", "onnxruntime", ALDER_LAKE).advice
    assert products_of(model, "cpu-int8-avx2", "onnxruntime", HASWELL).advice == ""
    assert products_of(model, "mine", "onnxruntime", ALDER_LAKE).advice == ""


def test_a_profile_for_vnni_is_not_said_to_be_narrow_where_there_is_none():
    """Weights of 7 bits saturate nowhere, whatever the profile that they were exported for allows."""
    model = written(Bits(weight=7, activation=8), "cpu-int8-avx2")
    told = products_of(model, "cpu-int8", "onnxruntime", HASWELL)
    assert told.inexact == ()
    assert "--profile cpu-int8-avx2 keeps to 7 bits" in told.advice
    assert "wider weights" not in told.advice


def product(weight: np.ndarray, op: str = "MatMul", *, quantized: bool = True, **attributes: int) -> onnx.ModelProto:
    """A graph of one product, its activation dequantized or floating point, in the form of quantize_static."""
    constants = {
        "scale": np.float32(0.1), "zero": np.uint8(0), "weight": weight, "zero_w": weight.dtype.type(0),
    }  # fmt: skip
    nodes = [helper.make_node("DequantizeLinear", ["weight", "scale", "zero_w"], ["w"])]
    if quantized:
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        ]
    nodes.append(helper.make_node(op, ["d" if quantized else "x", "w"], ["y"], name="product", **attributes))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph)


def test_files_that_others_wrote_are_looked_at():
    # Two large weights of one output channel; along the other axis no two are of one sign.
    weight = np.array([[100, -1], [100, -1]], np.int8)
    assert wide_layers(product(weight)) == ("product",)
    assert wide_layers(product(weight.T.copy(), "Gemm", transB=1)) == ("product",)
    assert wide_layers(product(np.array([[100, 100], [-1, -1]], np.int8))) == ()
    assert wide_layers(product(weight, quantized=False)) == ()
    assert wide_layers(product(weight.astype(np.uint8))) == ()
    depthwise = np.full((4, 1, 3, 3), 127, np.int8)
    assert wide_layers(product(depthwise, "Conv", group=4)) == ()
    assert wide_layers(product(depthwise, "Conv", group=1)) == ("product",)
