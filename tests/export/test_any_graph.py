"""A network that is no Structure goes the whole way: lowered, calibrated, written, verified, timed and explained."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from qedeploy.bench.attribution.estimates import estimate
from qedeploy.bench.benchmark import benchmark
from qedeploy.errors import UserError
from qedeploy.export.baselines import random_network, uniform, write_float_twin, write_w8a8_twin
from qedeploy.export.comparison import compare_with_pytorch, require_passed
from qedeploy.export.effects import measure_effects
from qedeploy.network.structure import MAX_BITS, Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq import simulation
from qedeploy.qdq.calibration import Wanted
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.metadata import ModelMetadata, read_metadata, to_properties
from qedeploy.qdq.plan import StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.registry import dialect_for
from tests.bench.graphs import BRIEF_OPTIONS
from tests.export.any_graph import any_graph, float_nodes_graph
from tests.export.networks import random_trained_graph

LAYERS = ["features_0", "features_1", "left", "down", "other", "point", "fc"]


def by_hand(layers, images):
    """The same network as anyone would write it in PyTorch, in float64."""

    def convolve(name, value, **options):
        weight, bias = (torch.from_numpy(np.asarray(part, np.float64)) for part in layers[name])
        return functional.conv2d(value, weight, bias, **options)

    value = functional.pad(images.to(torch.float64), (0, 1, 0, 1))
    value = convolve("features_0", value, stride=2).relu()
    shortcut = functional.relu6(convolve("features_1", value, padding=2, dilation=2))
    value = (convolve("left", shortcut, padding=(0, 2), groups=2) + shortcut).relu()
    down = convolve("down", value, stride=2, padding=1, groups=16).relu()
    value = down + convolve("other", value, stride=2, padding=1).relu()
    value = convolve("point", value).relu().mean(dim=(2, 3))
    weight, bias = (torch.from_numpy(np.asarray(part, np.float64)) for part in layers["fc"])
    return value @ weight.T + bias


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_in_floating_point_it_computes_what_pytorch_does(runtime):
    dialect = dialect_for(runtime)
    dialect = dialect.exact_form() or dialect
    network = random_network(uniform(any_graph(), MAX_BITS), dialect)
    images = random_images(network.graph.input, 3, 0)
    layers = {name: (layer.weight, layer.bias) for name, layer in network.layers.items()}
    expected = by_hand(layers, images).numpy()
    assert simulation.logits(network, images).numpy() == pytest.approx(expected, abs=1e-9)
    written = write_model(network, dialect)
    onnx.checker.check_model(written.model, full_check=True)
    found = open_session(written.model.SerializeToString()).run(None, {"image": images.numpy()})[0]
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize(
    ("profile", "bits"),
    [
        ("cpu-int8", Bits(weight=8, activation=8)),
        ("cpu-int8", Bits(weight=4, activation=5)),
        ("t4-int8", Bits(weight=8, activation=8)),
        ("t4-int8", Bits(weight=3, activation=6)),
    ],
)
def test_lowered_it_computes_its_plan(profile, bits, calibrated):
    graph = any_graph(bits)
    trained = random_trained_graph(graph, signed=profile == "t4-int8")
    if calibrated:
        ceilings = {step.name: step.ceiling for step in graph.operations}
        grids = {
            name: Wanted(bits=grid.bits, signed=grid.signed, nonnegative=grid.low == 0, ceiling=ceilings.get(name))
            for name, grid in trained.grids.items()
        }
        trained = dataclasses.replace(trained, grids=grids)
    images = random_images(graph.input, 3, 1)
    device = load_profile(profile)
    dialect = dialect_for(device.runtime)
    network = lower(trained, device, dialect, images, StepSource.RANDOM)
    assert [layer.name for layer in network.plan.layers] == LAYERS
    assert all(
        layer.input is not None and layer.executed == Bits(weight=8, activation=8) for layer in network.plan.layers
    )
    expected = simulation.logits(network, images)
    for form in (dialect, dialect.exact_form()):
        if form is None:
            continue
        written = write_model(network, form)
        onnx.checker.check_model(written.model, full_check=True)
        checked = compare_with_pytorch(
            network, written, images, expected, float_tolerance=form.float_tolerance, rounding=form.rounding
        )
        require_passed(checked)
        assert len(checked.checks) == len(graph.operations) + 1
        assert checked.values > 50_000
    effects = measure_effects(network, images, expected, expected)
    assert effects[0].logit_change == 0
    wider = {value.name for value in network.plan.points}
    assert wider == ({"left", "down", "other", "point"} if profile == "cpu-int8" else {"other"})


def test_layers_that_share_a_value_share_its_grid():
    network = random_network(any_graph(), dialect_for("onnxruntime"))
    inputs = {layer.name: layer.input for layer in network.plan.layers}
    assert inputs["down"] is inputs["other"] is network.plan.grids()["sum"]


def test_estimates_are_those_of_its_shapes():
    found = {item.name: item for item in estimate(any_graph(), {}, batch=2)}
    assert found["features_0"].macs == 2 * (24 * 32) * 16 * 3 * 9
    assert found["left"].macs == 2 * (24 * 32) * 16 * 8 * 5
    assert found["down"].macs == 2 * (12 * 16) * 16 * 9
    assert found["fc"].macs == 2 * 24 * 7
    assert [str(item.kind) for item in found.values()] == [
        "convolution", "convolution", "convolution", "depthwise", "convolution", "pointwise", "linear",
    ]  # fmt: skip
    # 64 times the products at 8 bits, and what follows: a normalisation of 2 and a ReLU of 1 flop for each value.
    assert found["point"].nominal_bitops == 2 * 64 * (12 * 16) * (24 * 16 + 3 * 24)
    assert found["fc"].nominal_bitops == 64 * found["fc"].macs
    assert found["point"].bytes_moved == 2 * (12 * 16) * (16 + 24) + 16 * 24


def test_a_file_says_what_it_is_and_is_timed_beside_its_baselines(tmp_path):
    dialect = dialect_for("onnxruntime")
    network = dialect.arrange(random_network(any_graph(Bits(weight=4, activation=4)), dialect))
    plan = dataclasses.replace(network.plan, profile="cpu-int8")
    metadata = ModelMetadata(graph=network.graph, profile="cpu-int8", plan=plan)
    path = tmp_path / "model.onnx"
    onnx.save(write_model(network, dialect, metadata=to_properties(metadata)).model, path)
    assert read_metadata(path) == metadata
    assert metadata.structure is None
    for write, width in ((write_float_twin, MAX_BITS), (write_w8a8_twin, 8)):
        twin = read_metadata(write(metadata, tmp_path / f"{width}.onnx"))
        assert {layer.bits for layer in twin.graph.layers} == {Bits(weight=width, activation=width)}
    result = benchmark(path, BRIEF_OPTIONS)
    assert [row.name for row in result.profiled.layers] == LAYERS
    assert all(row.seconds > 0 for row in result.profiled.layers)
    assert len(result.compared) == 3
    assert result.prediction is None


def pyramid(layers, images):
    def convolve(name, value, **options):
        weight, bias = (torch.from_numpy(np.asarray(part, np.float64)) for part in layers[name])
        return functional.conv2d(value, weight, bias, **options)

    first = convolve("first", images.to(torch.float64), padding=1).relu()
    deep = convolve("deep", functional.max_pool2d(first, 3, 2, 1)).relu()
    wide = functional.interpolate(deep, scale_factor=2, mode="nearest")
    smooth = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
    value = convolve("out", torch.cat([first, wide, smooth], dim=1))
    return functional.silu(value) / 2


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_what_stays_in_floating_point_between_layers_computes_what_pytorch_does(runtime):
    dialect = dialect_for(runtime)
    dialect = dialect.exact_form() or dialect
    network = random_network(uniform(float_nodes_graph(), MAX_BITS), dialect)
    images = random_images(network.graph.input, 3, 0)
    layers = {name: (layer.weight, layer.bias) for name, layer in network.layers.items()}
    expected = pyramid(layers, images).numpy()
    assert simulation.logits(network, images).numpy() == pytest.approx(expected, abs=1e-9)
    written = write_model(network, dialect)
    found = open_session(written.model.SerializeToString()).run(None, {"image": images.numpy()})[0]
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("profile", ["cpu-int8", "t4-int8"])
def test_layers_between_what_stays_in_floating_point_are_lowered(profile, tmp_path):
    graph = float_nodes_graph()
    trained = random_trained_graph(graph, signed=profile == "t4-int8")
    images = random_images(graph.input, 3, 1)
    device = load_profile(profile)
    dialect = dialect_for(device.runtime)
    network = lower(trained, device, dialect, images, StepSource.RANDOM)
    expected = simulation.logits(network, images)
    for form in {dialect, dialect.exact_form()} - {None}:
        written = write_model(network, form)
        onnx.checker.check_model(written.model, full_check=True)
        checked = compare_with_pytorch(
            network, written, images, expected, float_tolerance=form.float_tolerance, rounding=form.rounding
        )
        require_passed(checked)
    metadata = ModelMetadata(graph=graph, profile=profile, plan=network.plan)
    path = tmp_path / "model.onnx"
    onnx.save(write_model(network, dialect, metadata=to_properties(metadata)).model, path)
    assert read_metadata(path) == metadata
    # The values that a layer reads, and on a CPU those that a convolution makes for an operator in between.
    made = {"first", "deep", "out"} if profile == "cpu-int8" else set()
    assert set(network.plan.grids()) == {"image", "max", "joined"} | made


def test_damaged_metadata_names_the_operation(tmp_path):
    dialect = dialect_for("onnxruntime")
    network = random_network(any_graph(), dialect)
    properties = to_properties(ModelMetadata(graph=network.graph, profile="cpu-int8", plan=network.plan))
    properties["qedeploy.graph"] = properties["qedeploy.graph"].replace('"inputs": ["sum"]', '"inputs": ["fc"]', 1)
    path = tmp_path / "model.onnx"
    onnx.save(write_model(network, dialect, metadata=properties).model, path)
    with pytest.raises(UserError, match="down: expected inputs that were made before it, found fc"):
        read_metadata(path)
