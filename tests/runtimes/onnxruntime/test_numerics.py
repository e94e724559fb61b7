"""Exported graphs against PyTorch's run of their plan, over widths, kernels, strides and shortcuts."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from qedeploy.export.comparison import DifferenceError, compare_with_pytorch, require_passed
from qedeploy.network.layers import LayerKind
from qedeploy.network.structure import Activation, Bits, Block, Structure
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq import simulation
from qedeploy.qdq.graph_builder import owner
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.plan import Grid, StepSource
from qedeploy.qdq.trained import TrainedNetwork
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.registry import dialect_for
from tests.export.networks import random_trained, small_structure

DIALECT = dialect_for("onnxruntime")


def lowered(trained: TrainedNetwork, images: torch.Tensor) -> LoweredNetwork:
    return lower(trained, load_profile("cpu-int8"), DIALECT, images, StepSource.RANDOM)


def exported(structure: Structure, *, seed: int = 0, signed: bool = False, images: int = 3):
    sample = random_images(structure.image_sizes, images, seed)
    network = lowered(random_trained(structure, seed=seed, signed=signed), sample)
    written = write_model(network, DIALECT)
    onnx.checker.check_model(written.model, full_check=True)
    comparison = compare_with_pytorch(
        network, written, sample, simulation.logits(network, sample), float_tolerance=DIALECT.float_tolerance
    )
    require_passed(comparison)
    return network, written, comparison


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", range(2, 9))
def test_every_width_of_weights_and_activations(width, signed):
    _, _, comparison = exported(small_structure(Bits(weight=width, activation=width)), seed=width, signed=signed)
    assert comparison.top1_agreement == 1.0
    assert comparison.logit_difference < 0.05 * comparison.logit_range
    # Values that are all saturated or all zero would pass whatever the graph did.
    assert all(check.values > 0 for check in comparison.checks)


@pytest.mark.parametrize(("weight", "activation"), [(2, 8), (8, 2), (3, 7), (7, 3), (8, 4)])
def test_mixed_widths(weight, activation):
    exported(small_structure(Bits(weight=weight, activation=activation)), seed=11)


@pytest.mark.parametrize(("width", "signed", "without_expand"), [(7, False, False), (8, True, False), (8, False, True)])
def test_depthwise_layers_stay_in_float_between_integer_ones(tmp_path, width, signed, without_expand):
    bits, single = Bits(weight=width, activation=8), Bits(weight=16, activation=16)
    structure = small_structure(bits, bottleneck=16 if without_expand else 24)
    blocks = (Block(expand=bits, depthwise=single, project=bits),) * 2
    if without_expand:
        blocks = (Block(expand=None, depthwise=single, project=bits), blocks[1])
    stages = tuple(dataclasses.replace(stage, blocks=blocks) for stage in structure.stages)
    network, written, comparison = exported(dataclasses.replace(structure, stages=stages), seed=width, signed=signed)
    depthwise = {layer.name for layer in network.graph.layers if layer.kind is LayerKind.DEPTHWISE}
    assert all(network.layers[name].scale is None for name in depthwise)
    assert comparison.top1_agreement == 1.0
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(written.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    floating = [node for node in nodes if node.op_type in {"Conv", "FusedConv"}]
    left = {owner(node.name.partition("_token")[0].removesuffix("_nchwc")) for node in floating}
    # A session quantizes the weights of a float Conv between Q and DQ by itself where nothing keeps it from that.
    assert left >= depthwise
    if not without_expand:
        assert left == depthwise
        assert [check.name for check in comparison.checks if not check.quantized] == ["classifier"]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("resolution", [15, 16, 18, 33])
def test_kernels_on_even_and_odd_sizes(kernel, resolution):
    exported(small_structure(kernel=kernel, resolution=resolution), seed=kernel)


@pytest.mark.parametrize(("channels", "bottleneck"), [(8, 24), (16, 32), (8, 40)])
def test_channels_that_are_padded(channels, bottleneck):
    network, _, _ = exported(small_structure(channels=channels, bottleneck=bottleneck, pooled=False), seed=3)
    assert network.layers["stage1.block1.depthwise"].weight.shape[0] % 16 == 0


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", [4, 8])
def test_linear_bottlenecks_relu6_and_blocks_without_expand(width, signed):
    """MobileNetV2's kind: what blocks read and add is signed, and activations have a ceiling."""
    bits = Bits(weight=width, activation=width)
    structure = small_structure(bits, channels=16, bottleneck=16)
    direct = Block(expand=None, depthwise=bits, project=bits)
    stages = (dataclasses.replace(structure.stages[0], blocks=(direct, *structure.stages[0].blocks)),)
    structure = dataclasses.replace(
        structure,
        stages=(*stages, *structure.stages[1:]),
        activation=Activation.RELU6,
        linear_bottlenecks=True,
    )
    network, _, _ = exported(structure, seed=width, signed=signed)
    grids = network.plan.grids()
    assert grids["stage1.block1.add"].low < 0
    assert grids["stage2.block1.shortcut"].low < 0
    assert grids["stem"].low == 0


def test_the_ceiling_of_relu6_cuts_the_grid_where_it_reaches_higher():
    structure = dataclasses.replace(small_structure(Bits(weight=8, activation=8)), activation=Activation.RELU6)
    trained = random_trained(structure)
    grids = {
        name: Grid.of(bits=8, signed=grid.signed, step=grid.step * 9, nonnegative=True, ceiling=6.0)
        if grid is not None and grid.low == 0
        else grid
        for name, grid in trained.grids.items()
    }
    sample = random_images(structure.image_sizes, 3, 0)
    network = lowered(dataclasses.replace(trained, grids=grids), sample)
    written = write_model(network, DIALECT)
    assert network.plan.grids()["stem"].high < 255
    comparison = compare_with_pytorch(
        network, written, sample, simulation.logits(network, sample), float_tolerance=1e-4
    )
    require_passed(comparison)


def test_layer_inputs_lie_on_the_grids_that_training_had():
    structure = small_structure(Bits(weight=3, activation=5))
    trained = random_trained(structure)
    network = lowered(trained, random_images(structure.image_sizes, 2, 0))
    held = network.plan.grids()
    for value, grid in trained.grids.items():
        assert held[value] == grid
    for layer in network.plan.layers:
        assert layer.input is not None
        assert layer.input.bits == layer.bits.activation


def test_a_tampered_weight_fails_the_verification_and_names_the_layer():
    structure = small_structure()
    sample = random_images(structure.image_sizes, 3, 0)
    network = lowered(random_trained(structure), sample)
    written = write_model(network, DIALECT)
    name = "stage2.block1.project.weight"
    tensor = next(item for item in written.model.graph.initializer if item.name == name)
    weight = onnx.numpy_helper.to_array(tensor).copy()
    weight[5] = np.where(weight[5] == 0, 3, -weight[5])
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, name))
    comparison = compare_with_pytorch(
        network, written, sample, simulation.logits(network, sample), float_tolerance=1e-4
    )
    assert not comparison.passed
    assert [check.name for check in comparison.checks if not check.passed] == ["stage2.block1.project"]
    with pytest.raises(DifferenceError, match=r"stage2\.block1\.project: onnxruntime .* nothing was written"):
        require_passed(comparison)


def test_a_wrong_step_by_one_percent_fails_the_verification():
    structure = small_structure()
    sample = random_images(structure.image_sizes, 3, 0)
    network = lowered(random_trained(structure), sample)
    written = write_model(network, DIALECT)
    tensor = next(item for item in written.model.graph.initializer if item.name == "stage1.block2.project.scale")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(1.01) * onnx.numpy_helper.to_array(tensor), tensor.name))
    comparison = compare_with_pytorch(
        network, written, sample, simulation.logits(network, sample), float_tolerance=1e-4
    )
    assert not comparison.passed


def test_the_same_logits_without_graph_optimisation():
    """ONNX's own Q/DQ semantics, kernel by kernel in float32, is a second executor that nobody here wrote."""
    import onnxruntime

    structure = small_structure(Bits(weight=5, activation=6))
    _network, written, _ = exported(structure, seed=5)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = written.model.SerializeToString()
    plain = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {"image": random_images(structure.image_sizes, 4, 9).numpy()}
    slow, fast = plain.run(None, feed)[0], open_session(content).run(None, feed)[0]
    assert np.abs(slow - fast).max() < 0.05 * np.abs(slow).max()
    assert (slow.argmax(1) == fast.argmax(1)).all()


@pytest.mark.parametrize("batch", [1, 2, None])
def test_batch_is_open_or_fixed(batch):
    structure = small_structure()
    network = lowered(random_trained(structure), random_images(structure.image_sizes, 2, 0))
    written = write_model(network, DIALECT, batch=batch)
    session = open_session(written.model.SerializeToString())
    assert session.get_inputs()[0].shape[0] == (batch or "batch")
    images = random_images(structure.image_sizes, batch or 5, 0)
    assert session.run(None, {"image": images.numpy()})[0].shape == (batch or 5, 10)
