"""What a .tflite file computes: every integer, in kernels that we did not write."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from qedeploy.errors import RequestError
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerKind
from qedeploy.network.operations import IMAGE, Operation
from qedeploy.network.structure import Bits
from qedeploy.network.window import Window
from qedeploy.qdq import simulation
from qedeploy.qdq.images import random_images
from qedeploy.runtimes.litert.flatbuffer import to_flatbuffer
from qedeploy.runtimes.litert.int4 import packed
from qedeploy.runtimes.litert.program import Operator, Program
from qedeploy.runtimes.litert.translation import translate
from qedeploy.runtimes.litert.verification import WrongIntegersError, verify
from tests.export.any_graph import any_graph, float_nodes_graph
from tests.export.networks import small_structure
from tests.runtimes.litert.networks import W8A8, lowered, lowered_graph

NARROW, UNEQUAL = Bits(weight=4, activation=4), Bits(weight=3, activation=7)
INT4, FEWER = Bits(weight=4, activation=8), Bits(weight=3, activation=8)
KERNELS = (Operator.CONVOLUTION, Operator.DEPTHWISE)


@pytest.mark.parametrize(
    ("bits", "resolution", "signed"),
    [
        (W8A8, 16, False),
        (W8A8, 15, True),
        (NARROW, 14, False),
        (NARROW, 16, True),
        (UNEQUAL, 14, False),
        (INT4, 16, False),
        (INT4, 15, True),
        (FEWER, 14, False),
    ],
)
def test_every_integer_is_that_of_the_arithmetic_and_a_step_off_the_plan_at_most(bits, resolution, signed):
    network = lowered(bits, resolution=resolution, signed=signed)
    program = translate(network)
    found = verify(network, program, to_flatbuffer(program))
    assert found.images == 2
    assert found.values == 2 * sum(int(np.prod(step.output)) for step in network.graph.operations)
    assert found.integers >= found.values
    # Averages of whole numbers fall on halves, which PyTorch rounds to even and LiteRT away from zero.
    assert found.one_step / found.values < 0.05


def test_weights_of_four_bits_beside_activations_of_eight_take_half_a_byte():
    wide, narrow, small = (translate(lowered(bits)) for bits in (W8A8, NARROW, INT4))
    assert not any(tensor.int4 for program in (wide, narrow) for tensor in program.tensors.values())
    held = {name for name, tensor in small.tensors.items() if tensor.int4}
    weights = {call.inputs[1] for call in small.calls if call.operator in KERNELS}
    # The stem and the classifier are 8 bits wide in this network, and the pooled shortcut has ones for weights.
    assert weights - held == {"stem.weight", "classifier.weight", "stage2.block1.shortcut.weight"}
    for name in held:
        assert small.tensors[name].size_bytes == -(-wide.tensors[name].size_bytes // 2)
        assert np.abs(small.tensors[name].data.astype(int)).max() in (7, 8)
    files = {name: to_flatbuffer(program) for name, program in (("wide", wide), ("small", small))}
    halved = sum(small.tensors[name].size_bytes for name in held)
    assert len(files["wide"]) - len(files["small"]) == pytest.approx(halved, abs=16 * len(held))
    model = schema.ModelT.InitFromPackedBuf(files["small"], 0)
    versions = {code.builtinCode: code.version for code in model.operatorCodes}
    assert versions[schema.BuiltinOperator.CONV_2D] == 7
    types = {tensor.name.decode(): tensor.type for tensor in model.subgraphs[0].tensors}
    assert {name for name, kind in types.items() if kind == schema.TensorType.INT4} == held


def test_the_first_of_two_lies_in_the_lower_half_of_a_byte():
    assert packed(np.array([1, -2, -8, 7, 3], np.int8)).tolist() == [0xE1, 0x78, 0x03]


def test_a_batch_is_the_images_one_by_one():
    network = lowered()
    images = random_images(network.graph.input, 3, 5)
    step, zero = network.plan.grids()[IMAGE].step, 0
    fed = np.clip(np.rint(images.numpy() / step) + zero, -128, 127).astype(np.int8).transpose(0, 2, 3, 1)
    together = run(to_flatbuffer(translate(network, 3)), fed)
    alone = [run(to_flatbuffer(translate(network)), fed[index : index + 1]) for index in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_the_logits_are_those_of_pytorch_end_to_end():
    network = lowered()
    images = random_images(network.graph.input, 2, 3).to(torch.float64)
    fed = simulation.quantize(images, network.plan.grids()[IMAGE]).numpy().astype(np.int8).transpose(0, 2, 3, 1)
    found = run(to_flatbuffer(translate(network, 2)), fed)
    expected = simulation.logits(network, images).numpy()
    step = network.plan.grids()["classifier"].step
    assert np.abs(found * step - expected).max() < 0.05 * np.abs(expected).max()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("bits", [W8A8, NARROW])
def test_any_network_of_uneven_windows_comes_out(bits):
    graph = any_graph(bits)
    network = lowered_graph(dataclasses.replace(graph, operations=tuple(map(without_groups, graph.operations))))
    program = translate(network)
    assert verify(network, program, to_flatbuffer(program)).values > 0


def without_groups(step: Operation) -> Operation:
    if step.layer is None or step.layer.kind is not LayerKind.CONVOLUTION:
        return step
    return dataclasses.replace(step, layer=dataclasses.replace(step.layer, groups=1))


def test_groups_are_refused_by_the_layer_that_has_them():
    with pytest.raises(RequestError, match="left: LiteRT does not compute it: it has groups"):
        translate(lowered_graph(any_graph()))


def test_what_is_not_integer_is_refused():
    with pytest.raises(RequestError, match="computed in floating point"):
        lowered_graph(float_nodes_graph())


def test_a_wrong_weight_is_found():
    network = lowered()
    program = translate(network)
    weight = program.tensors["stage1.block1.depthwise.weight"]
    data = weight.data.copy()
    data[0, 1, 1, 3] += 1
    changed = {**program.tensors, weight.name: dataclasses.replace(weight, data=data)}
    content = to_flatbuffer(dataclasses.replace(program, tensors=changed))
    with pytest.raises(WrongIntegersError, match=r"stage1.block1.depthwise: LiteRT's .* no .tflite file was") as caught:
        verify(network, program, content)
    assert caught.value.exit_code == 1


def test_a_program_that_is_not_the_plan_is_found():
    network = lowered()
    program = translate(network)
    bias = program.tensors["head.bias"]
    changed = {**program.tensors, "head.bias": dataclasses.replace(bias, data=bias.data + 100_000)}
    wrong = dataclasses.replace(program, tensors=changed)
    with pytest.raises(WrongIntegersError, match="head: LiteRT differs from PyTorch by"):
        verify(network, wrong, to_flatbuffer(wrong))


def test_the_file_keeps_the_quantization_specification():
    network = lowered(NARROW)
    content = to_flatbuffer(translate(network))
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    assert content[4:8] == b"TFL3"
    types = {tensor.name.decode(): tensor for tensor in graph.tensors}
    assert (types["image"].type, list(types["image"].shape)) == (schema.TensorType.INT8, [1, 16, 16, 3])
    assert list(types["logits"].shape) == [1, 10]
    for name, tensor in types.items():
        if name.endswith((".weight", ".bias")):
            assert set(tensor.quantization.zeroPoint) == {0}
        if name.endswith(".weight"):
            values = model.buffers[tensor.buffer].data.view(np.int8)
            assert values.min() >= -127
            depthwise = ".depthwise." in name or ".shortcut." in name
            assert tensor.quantization.quantizedDimension == (3 if depthwise else 0)
            assert len(tensor.quantization.scale) == tensor.shape[tensor.quantization.quantizedDimension]


def test_constants_are_aligned_for_kernels_that_read_them_in_place():
    content = to_flatbuffer(translate(lowered()))
    model = schema.Model.GetRootAs(content, 0)
    starts = [
        model.Buffers(index)._tab.Vector(model.Buffers(index)._tab.Offset(4))
        for index in range(1, model.BuffersLength())
    ]
    assert len(starts) > 20
    assert {start % 16 for start in starts} == {0}
    assert len(content) % 16 == 0


def test_weights_of_minus_128_are_moved_by_one_and_counted():
    network = lowered(W8A8, seed=2)
    assert min(int(layer.weight.min()) for layer in network.layers.values()) >= -127
    assert sum(layer.clipped_weights for layer in network.plan.layers) > 0
    assert all(layer.weight_low >= -127 for layer in network.plan.layers)


def test_odd_sizes_are_pooled_on_one_grid_and_even_ones_by_a_convolution():
    odd, even = lowered(resolution=14), lowered(resolution=16)
    grids = odd.plan.grids()
    assert grids["stage2.block1.shortcut"] == grids["stage1.block2.add"]
    assert any("stage2.block1.shortcut: pooled on the grid of" in note for note in odd.plan.notes)
    assert Operator.AVERAGE_POOL in {call.operator for call in translate(odd).calls}
    assert Operator.AVERAGE_POOL not in {call.operator for call in translate(even).calls}


def test_a_window_that_litert_cannot_move_is_refused_by_its_layer():
    graph = structure_graph(small_structure(W8A8))
    name = "stage1.block1.depthwise"
    # As large an output as with a pixel on each side, but all of the padding before.
    window = Window(kernel=(3, 3), padding=(2, 2, 0, 0))
    steps = tuple(
        dataclasses.replace(step, layer=dataclasses.replace(step.layer, window=window)) if step.name == name else step
        for step in graph.operations
    )
    network = lowered_graph(dataclasses.replace(graph, operations=steps, structure=None))
    with pytest.raises(RequestError, match=f"{name}: LiteRT does not compute it: it pads"):
        translate(network)


def test_the_fast_kernels_of_this_cpu_round_once_as_pytorch_does():
    network = lowered()
    program = translate(network)
    compared = differing = 0
    for call in program.calls:
        if call.operator not in (Operator.CONVOLUTION, Operator.DEPTHWISE) or call.placement.same:
            continue
        value, weight, bias = (program.tensors[name] for name in call.inputs)
        output = program.tensors[call.output]
        alone = Program(
            tensors={tensor.name: tensor for tensor in (value, weight, bias, output)},
            calls=[call],
            source=value.name,
            result=output.name,
            values={},
        )
        fed = np.random.default_rng(1).integers(-128, 128, value.shape).astype(np.int8)
        kernel = weight.data.astype(np.float64).transpose(3, 0, 1, 2)
        if call.operator is Operator.CONVOLUTION:
            kernel = weight.data.astype(np.float64).transpose(0, 3, 1, 2)
        sums = torch.nn.functional.conv2d(
            torch.from_numpy(fed.astype(np.float64).transpose(0, 3, 1, 2) - value.zero_point),
            torch.from_numpy(kernel.copy()),
            torch.from_numpy(bias.data.astype(np.float64)),
            stride=call.placement.stride,
            groups=value.shape[3] if call.operator is Operator.DEPTHWISE else 1,
        )
        scale = value.step * weight.scale.astype(np.float64) / output.step
        exact = np.rint(sums.numpy().transpose(0, 2, 3, 1) * scale) + output.zero_point
        once = np.clip(exact, output.zero_point if call.relu else -128, 127)
        found = run(to_flatbuffer(alone), fed) + output.zero_point
        assert np.abs(found - once).max() <= 1
        differing += int(np.count_nonzero(found != once))
        compared += found.size
    assert compared > 5000
    assert differing / compared < 0.001


def run(content: bytes, fed: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], fed)
    interpreter.invoke()
    (output,) = interpreter.get_output_details()
    return interpreter.get_tensor(output["index"]).astype(np.float64) - output["quantization"][1]
