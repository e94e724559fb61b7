"""quantize for GPUs that are not here: files, budgets, the plan that the real builder makes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import onnx
import pytest

from qedeploy import api
from qedeploy.errors import RequestError, UserError
from qedeploy.runtimes.nvidia.record import read_record
from tests.export.onnx_networks.networks import mobile_network, write

SIZES = ["image=1x3x32x48"]
WEIGHT = re.compile(rb"const_payload_size=(\d+) dims=\{ ([\d ]+) \}[^\n]*? type=(int4|int8) \}")
"""How plans of 1.7.1 list what they hold: bytes, sizes and type."""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "images.npy", np.random.default_rng(2).normal(size=(3, 3, 32, 48)).astype(np.float32))
    return folder


def quantize(tmp_path, data, profile="rtx-40", **options):
    path = write(mobile_network(), tmp_path)
    options = {"shapes": SIZES, "folder": tmp_path / "out"} | options
    return api.quantize(path, data, profile=profile, **options)


def held(plan):
    """Count the weights that a plan holds by type and number; channels of 3 are filled up to 4."""
    found = Counter()
    for payload, sizes, kind in WEIGHT.findall(plan.read_bytes()):
        count = int(np.prod([int(size) for size in sizes.split()]))
        assert int(payload) == (count // 2 if kind == b"int4" else count)
        found[kind.decode(), count] += 1
    return found


def test_by_default_every_layer_within_the_error_is_in_w8a8_and_so_is_the_plan(tmp_path, data):
    pytest.importorskip("tensorrt_rtx")
    result = quantize(tmp_path, data)
    out = tmp_path / "out"
    assert set(result.found.precisions.values()) == {"W8A8"}
    assert result.found.error <= 0.02
    assert result.found.proof.agrees
    assert {path.name for path in out.iterdir()} == {
        "model.onnx", "sensitivity.json", "sensitivity.svg", "assignment.json", "engine.plan", "engine.json"
    }  # fmt: skip
    record = read_record(result.artefact.path)
    assert (record.target, record.onnx) == ("8.9", "model.onnx")
    plan = held(result.artefact.path)
    # The stem of 16x3x3x3, filled up, the three 1x1 convolutions and the linear.
    assert all(plan["int8", count] for count in (16 * 4 * 9, 32 * 16, 24 * 16, 24 * 4))
    assert not [count for kind, count in plan if kind == "int4"]
    assert all(check.holds for check in api.verify(out))


def test_four_bits_that_a_size_asks_for_stay_four_bits_in_the_plan(tmp_path, data):
    pytest.importorskip("tensorrt_rtx")
    float16 = sum(
        layer.size_bytes("float16") for layer in quantize(tmp_path, data, folder=None).found.quantizer.layers.values()
    )
    result = quantize(tmp_path, data, budgets=[f"size={int(0.5 * float16)}B"])
    costs = result.found.winner.assignment.costs
    assert costs.size <= 0.5 * float16
    four = [name for name, item in result.found.precisions.items() if item == "W4A16"]
    assert four
    weights = sorted(result.found.quantizer.layers[name].found.weight.size for name in four)
    plan = held(result.artefact.path)
    assert sorted(count for (kind, count), number in plan.items() if kind == "int4" for _ in range(number)) == weights


def test_turing_has_no_plan_here_and_the_line_says_why(tmp_path, data):
    result = quantize(tmp_path, data, profile="t4-int4")
    assert result.artefact is None
    assert "not installed" in result.reason
    assert not (tmp_path / "out" / "engine.plan").exists()
    assert onnx.load(result.written.model).opset_import[0].version == 21


def test_sets_are_judged_by_the_worse_of_float16_and_float32(tmp_path, data):
    found = quantize(tmp_path, data, folder=None).found
    assert found.winner.measured.error >= found.error
    assert found.winner.measured.error in [item.error for item in found.sets]


def test_an_error_that_no_layer_keeps_leaves_float16(tmp_path, data):
    result = quantize(tmp_path, data, budgets=["error=0.0000009"], folder=None)
    assert set(result.found.precisions.values()) == {"float16"}
    assert "no layer saves" in result.found.reason
    assert result.found.error <= 9e-7
    with pytest.raises(RequestError, match="float16 alone has"):
        quantize(tmp_path, data, budgets=["error=1e-12"], folder=None)


def test_a_metric_decides_where_there_is_one(tmp_path, data, monkeypatch):
    (tmp_path / "first_class.py").write_text(
        "def first(outputs, sources): return -sum(float(o['classes'][0, 0]) for o in outputs)\n"
    )
    monkeypatch.chdir(tmp_path)
    loose = quantize(tmp_path, data, metric="first_class:first", max_drop=1.0, folder=None)
    assert set(loose.found.precisions.values()) == {"W8A8"}
    assert loose.found.drop <= 1.0
    strict = quantize(tmp_path, data, metric="first_class:first", max_drop=max(0.0, loose.found.drop / 2), folder=None)
    assert strict.found.drop <= max(0.0, loose.found.drop / 2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"budgets": ["latency=0.8x"]}, RequestError, "--budget latency: quantize does not time TensorRT for RTX"),
        ({"pareto": True}, RequestError, "--pareto: expected a profile whose layers are timed"),
        ({"budgets": ["size=10B"]}, RequestError, "no assignment of precisions is within the budgets"),
        ({"fixed": ["depthwise=W4A16"]}, RequestError, "depthwise=W4A16: it can be in float16, W8A8"),
        ({"fixed": ["head=W3A3"]}, RequestError, "profile rtx-40 computes layers in float16, W8A8, W4A16"),
        ({"fixed": ["head=W8A8"], "kept": ["head"]}, RequestError, "--keep holds it in float16"),
        ({"kept": ["nowhere"]}, UserError, "matches no layer"),
        ({"shapes": []}, UserError, "--shape image=1x3xNxN"),
        ({"profile": "stm32f746"}, RequestError, "does not write for LiteRT"),
    ],
)
def test_what_cannot_be_asked_is_named_and_nothing_is_written(tmp_path, data, options, error, words):
    with pytest.raises(error, match=words):
        quantize(tmp_path, data, **options)
    assert not (tmp_path / "out").exists()


def test_what_is_fixed_and_kept_is_so(tmp_path, data):
    result = quantize(tmp_path, data, fixed=["head=W4A16"], kept=["project"])
    assert result.found.precisions["head"] == "W4A16"
    assert result.found.precisions["project"] == "float16"
    document = json.loads(result.written.assignment.read_text())
    assert document["precisions"] == dict(result.found.precisions)
    assert document["checked"]["float16"]["layers"] == 5
