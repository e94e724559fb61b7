"""OpenVINO from an export to a query: whose integers it computes, in which precision, and what it says of files."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from qedeploy import api
from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.export.baselines import random_network
from qedeploy.export.comparison import compare_with_pytorch, require_passed
from qedeploy.network.graph import structure_graph
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq import simulation
from qedeploy.qdq.images import random_images
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.plan import StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.openvino.executed import executed_nodes, layer_of
from qedeploy.runtimes.openvino.runner import OpenVINORunner
from qedeploy.runtimes.openvino.runtime import OpenVINO
from qedeploy.runtimes.openvino.session import compile_model
from qedeploy.runtimes.openvino.verification import verify
from qedeploy.runtimes.processor import this_processor
from qedeploy.runtimes.registry import dialect_for, find_runtime
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.saturation import saturates
from qedeploy.runtimes.timing import TimingProtocol
from tests.cli.conftest import SMALL_RECIPE
from tests.export.networks import random_trained, small_structure

DIALECT = dialect_for("openvino")
SHORT = TimingProtocol(warm_up=0, duration=0.02, iterations=3)
BRIEF = {"seconds": 0.03, "warm_up": 0.0, "variation_limit": 10.0}


def lowered(bits, dialect=DIALECT, profile="cpu-openvino", *, signed=False, seed=0):
    structure = small_structure(bits)
    images = random_images(structure.image_sizes, 2, seed)
    trained = random_trained(structure, seed=seed, signed=signed)
    return lower(trained, load_profile(profile), dialect, images, StepSource.RANDOM), images


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino")
    (folder / "small.toml").write_text(SMALL_RECIPE)
    found = api.search("cpu-openvino", str(folder / "small.toml"), folder=folder)
    return api.export(found.model, folder / "model.onnx")


@pytest.mark.parametrize(("weight", "activation"), [(7, 8), (7, 4), (4, 4), (2, 8)])
@pytest.mark.parametrize("signed", [False, True])
def test_file_and_kernels_compute_the_plan(weight, activation, signed):
    network, images = lowered(Bits(weight=weight, activation=activation), signed=signed, seed=weight)
    written = write_model(network, DIALECT)
    onnx.checker.check_model(written.model, full_check=True)
    expected = simulation.logits(network, images)
    require_passed(
        compare_with_pytorch(
            network,
            written,
            images,
            expected,
            float_tolerance=DIALECT.float_tolerance,
            rounding=DIALECT.rounding,
        )
    )
    found = verify(network, DIALECT, images, "OpenVINO")
    assert found.values > 5_000
    # Stem and classifier have 8 bits whatever the rest has: without VNNI these may saturate, the rest may not.
    assert found.passed or saturates(this_processor()), found


def test_another_form_of_the_same_network_is_caught():
    """ONNX Runtime's: the rounding of a branch before its addition is fused away."""
    other = dialect_for("onnxruntime")
    network, images = lowered(Bits(weight=7, activation=8), other, "cpu-int8")
    found = verify(other.arrange(network), other, images, "OpenVINO")
    assert not found.passed
    assert found.worst_share > 0.01
    assert "block by block" in str(found)


def test_every_layer_runs_in_8_bits_under_its_own_name(named_golden):
    graph = structure_graph(from_blocks(named_golden["mixed7d0G"]["structure"]))
    model = write_model(random_network(graph, DIALECT), DIALECT).model.SerializeToString()
    weighted = [node for node in executed_nodes(compile_model(model, 1)) if node.weighted]
    assert {layer_of(node, {"logits": "classifier"}) for node in weighted} == {layer.name for layer in graph.layers}
    assert {node.precision for node in weighted} == {"u8"}


def test_an_export_says_what_its_kernels_compute(exported):
    assert exported.execution.passed or exported.products.inexact
    assert exported.execution.runtime == f"OpenVINO {find_runtime('openvino').version()}"
    assert exported.execution.top1_agreement == 1.0


def test_kernels_that_miss_the_plan_stop_an_export(exported, monkeypatch, tmp_path):
    wrong = dataclasses.replace(exported.execution, largest=2, worst="stage1.block1")
    monkeypatch.setattr(OpenVINO, "execution", lambda *_: wrong)
    monkeypatch.setattr(OpenVINO, "products", lambda *_: None)
    with pytest.raises(UserError, match=r"stage1.block1: OpenVINO .* nothing was written"):
        api.export(exported.prepared.checkpoint, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_bench_sets_the_file_beside_another_runtime(exported, tmp_path):
    found = api.bench(exported.model, runtime="onnxruntime", folder=tmp_path, **BRIEF).result
    assert found.runner.runtime == "ONNX Runtime"
    assert [model.name for model in found.compared] == ["this model", "the same file on OpenVINO"]
    assert found.compared[1].ratio is not None


def test_bench_names_the_precision_of_layers(exported, tmp_path):
    found = api.bench(exported.model, folder=tmp_path, **BRIEF).result
    names = [layer.name for layer in exported.prepared.network.graph.layers]
    assert found.runner.runtime == "OpenVINO"
    assert [model.name for model in found.compared] == ["this model", "float32 twin", "W8A8 twin"]
    assert [row["layer"] for row in found.engine["layers"]] == names
    assert {row["precision"] for row in found.engine["layers"]} == {"u8"}
    assert [row.name for row in found.profiled.layers if row.seconds] == names


def test_a_query_has_any_batch_and_leaves_what_is_timed(exported):
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    with OpenVINORunner(exported.model, RunnerOptions()) as runner:
        before = {name: value.copy() for name, value in runner._feeds.items()}
        together = runner.infer({"image": images})["logits"]
        alone = np.concatenate([runner.infer({"image": images[i : i + 1]})["logits"] for i in range(3)])
        assert runner.measure(SHORT).latency.min() > 0
        assert all(np.array_equal(runner._feeds[name], value) for name, value in before.items())
        with pytest.raises(UserError, match="expected values of shape anyx3x32x32"):
            runner.infer({"image": images[:, :, :5]})
    assert together.shape == (3, 10)
    # Another batch may take other kernels, and a rounding the other way.
    assert np.abs(together - alone).max() < 0.2 * np.abs(alone).std()


def test_a_batch_can_be_chosen(exported):
    with OpenVINORunner(exported.model, RunnerOptions(batch=2)) as runner:
        assert str(runner.description.inputs[0]) == "image: tensor(float) 2x3x32x32"
        assert runner.description.batch == 2


@pytest.mark.parametrize(("content", "expected"), [(b"", "does not read it"), (b"no onnx", "does not read it")])
def test_a_file_that_is_none_is_one_line(tmp_path, content, expected):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        OpenVINORunner(path, RunnerOptions()).__enter__()
    assert "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(exported, monkeypatch):
    monkeypatch.setattr(OpenVINO, "version", lambda _: None)
    runtime = OpenVINO()
    with pytest.raises(MissingRuntimeError, match=r"pip install 'qedeploy\[openvino\]'"):
        runtime.open(exported.model, RunnerOptions())
    assert runtime.execution(exported.prepared.network, exported.prepared.images) is None


def test_the_doctor_names_devices_and_kernels():
    (finding,) = find_runtime("openvino").findings()
    assert "devices: CPU" in finding.detail
    assert "integer kernels exact" in finding.detail
