"""quantize from file to files, on a network that takes well under a millisecond."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from qedeploy import api
from qedeploy.bench.measure.interleave import Ratio
from qedeploy.campaign.quantization import network_quantization
from qedeploy.errors import RequestError, UserError
from qedeploy.runtimes.registry import find_runtime, reference
from qedeploy.search.assign.problem import FLOAT
from tests.export.onnx_networks.networks import mobile_network, write

EXECUTION = find_runtime("onnxruntime").mixed
PRECISION = EXECUTION.precisions()[0]
SIZES = ["image=1x3x32x48"]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "images.npy", np.random.default_rng(2).normal(size=(4, 3, 32, 48)).astype(np.float32))
    return folder


def quantize(tmp_path, data, **options):
    path = write(mobile_network(), tmp_path)
    return api.quantize(
        path, data, shapes=options.pop("shapes", SIZES), duration="10ms", folder=tmp_path / "out", **options
    )


def read(folder):
    return tuple(json.loads((folder / name).read_text()) for name in ("sensitivity.json", "assignment.json"))


def test_the_files_say_what_was_found_and_the_model_runs(tmp_path, data):
    # The time is no limit, so that the answer does not hang on this machine's: the least error is float32.
    result = quantize(tmp_path, data, budgets=["latency=100x"], pareto=True)
    sensitivity, assignment = read(tmp_path / "out")
    names = list(result.found.quantizer.layers)
    assert [item["layer"] for item in sensitivity["layers"]] == names
    assert all(item["error"] > 0 and item["samples"] == 4 for item in sensitivity["layers"])
    assert sensitivity["float_seconds"] > 0
    assert set(assignment["precisions"]) == set(names)
    assert assignment["front"][-1]["error"] == 0
    model = onnx.load(tmp_path / "out" / "model.onnx")
    feed = {"image": np.zeros((1, 3, 32, 48), np.float32)}
    assert reference().evaluator(model.SerializeToString(), True)(feed)["classes"].shape == (1, 4)


def test_layers_that_are_fixed_are_in_integers_checked_and_proved(tmp_path, data):
    result = quantize(tmp_path, data, budgets=["latency=100x"], fixed=fixed(tmp_path, data))
    found = result.found
    assert set(found.assignment.precisions.values()) == {PRECISION}
    assert found.check.kernels == len(found.quantizer.layers)
    assert found.assignment.gap < 1e-6
    assert found.proof.agrees
    counts = [operator for _, operator in EXECUTION.nodes(result.written.model.read_bytes())]
    assert sum(operator in EXECUTION.kernels for operator in counts) == found.check.kernels
    assert read(tmp_path / "out")[1]["certificate"]["second_way"]["agrees"] is True


def fixed(tmp_path, data):
    names = quantize(tmp_path, data, budgets=["latency=100x"]).found.quantizer.layers
    return [f"{name}={PRECISION}" for name in names]


def test_where_all_layers_are_kept_the_prepared_float_network_comes_back(tmp_path, data):
    result = quantize(tmp_path, data, kept=["."])
    assert result.found.assignment is None
    assert set(read(tmp_path / "out")[1]["precisions"].values()) == {FLOAT}
    assert result.written.model.read_bytes() == result.found.prepared.model.SerializeToString()
    assert "faster" in result.found.contest.reason


def test_a_time_that_cannot_be_kept_is_refused_and_nothing_is_written(tmp_path, data):
    with pytest.raises(RequestError):
        quantize(tmp_path, data, budgets=["latency=0.01x"])
    assert not (tmp_path / "out").exists()


def test_float_wins_where_integers_are_no_faster():
    from qedeploy.campaign.quantization.contest import Contestant, _judge

    def contestant(value, spread=0.01):
        ratio = Ratio(value=value, low=value - spread, high=value + spread, rounds=15)
        return Contestant(
            problem=None, assignment=None, error=0.01, drop=None, predicted=value, time=ratio, over_original=ratio
        )

    assert _judge([contestant(1.1)], 1, None, 0.02)[0] is None
    assert _judge([contestant(0.9, spread=0.2)], 1, None, 0.02)[0] is None
    best = contestant(0.7)
    assert _judge([contestant(0.8), best], 2, None, 0.02)[0] is best
    assert "no layer is faster" in _judge([], 0, None, 0.02)[1]
    assert "over 0.02" in _judge([], 2, None, 0.02)[1]
    with pytest.raises(RequestError, match=r"reached 0\.70x"):
        _judge([best], 1, 0.5, None)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"shapes": []}, UserError, "--shape image=1x3xNxN"),
        ({"fixed": ["nowhere=float32"]}, UserError, "no such layer"),
        ({"kept": ["nowhere"]}, UserError, "matches no layer"),
        ({"profile": "stm32f746"}, RequestError, "does not write for"),
        ({"profile": "nowhere"}, UserError, "nowhere"),
        ({"budgets": ["speed=2"]}, UserError, "--budget"),
    ],
)
def test_what_cannot_be_asked_is_named(tmp_path, data, options, error, words):
    with pytest.raises(error, match=words):
        quantize(tmp_path, data, **options)
    assert not (tmp_path / "out").exists()


def test_a_precision_that_this_machine_lacks_is_named(tmp_path, data):
    name = next(iter(quantize(tmp_path, data, kept=["."]).found.quantizer.layers))
    with pytest.raises(RequestError, match=f"computes layers in float32, {PRECISION}"):
        quantize(tmp_path, data, fixed=[f"{name}=W3A3"])


def test_an_output_that_dies_is_refused(tmp_path, data, monkeypatch):
    def kill(editor, *_):
        from qedeploy.export.onnx_networks.grids import ValueGrid

        return {value: ValueGrid(scale=1e6, zero_point=0) for value in editor}, {}

    from qedeploy.export.onnx_networks import quantizer

    monkeypatch.setattr(quantizer, "regrid", lambda _editor, grids: kill(grids))
    monkeypatch.setattr(network_quantization, "require_planned", lambda *_: None)
    with pytest.raises(RequestError, match="is the same number on all data once quantized"):
        quantize(
            tmp_path, data, budgets=["latency=100x"], fixed=[f"{name}={PRECISION}" for name in layer_names(tmp_path)]
        )


def layer_names(tmp_path):
    from qedeploy.export.onnx_networks.editor import GraphEditor
    from qedeploy.export.onnx_networks.integer_layers import integer_layers
    from qedeploy.export.onnx_networks.preparation import prepare
    from qedeploy.export.onnx_networks.sizes import parse_sizes

    prepared = prepare(write(mobile_network(), tmp_path), parse_sizes(SIZES))
    return [layer.name for layer in integer_layers(GraphEditor(prepared.model))]


def test_a_finished_quantization_is_verified_and_a_changed_one_is_not(tmp_path, data):
    quantize(tmp_path, data, budgets=["latency=100x"], fixed=fixed(tmp_path, data), pareto=True)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} >= {"sensitivity.svg", "front.svg"}
    assert all(check.holds for check in api.verify(out))
    document = json.loads((out / "assignment.json").read_text())
    document["certificate"]["costs"]["error"] *= 2
    (out / "assignment.json").write_text(json.dumps(document))
    assert [check.claim for check in api.verify(out / "assignment.json") if check.holds is False] == ["error"]
    (out / "assignment.json").write_text("{}")
    with pytest.raises(UserError, match="expected a qedeploy-assignment/1"):
        api.verify(out)


def test_executed_bitops_are_kept_where_they_are_limited(tmp_path, data):
    found = quantize(tmp_path, data, budgets=["latency=100x"]).found
    macs = sum(layer.macs for layer in found.quantizer.layers.values())
    limit = macs * (32 * 32 + 8 * 8) / 2
    result = quantize(tmp_path, data, budgets=["latency=100x", f"executed-bitops={limit / 1e6:.6f}M"])
    assert result.found.assignment.costs.executed <= limit * (1 + 1e-6)
    assert result.found.assignment.quantized


def test_a_file_for_processors_without_vnni_has_weights_of_seven_bits_wherever_it_is_made(tmp_path, data):
    result = quantize(tmp_path, data, profile="cpu-int8-avx2", budgets=["latency=100x"])
    assert result.found.precisions == ("W7A8",)
    assert {item["precision"] for item in read(tmp_path / "out")[0]["layers"]} == {"W7A8"}
