"""Whole benchmarks of small real models: every part is there, sums hold, and what is missing is said."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import onnx
import pytest

import qedeploy
from qedeploy.bench.benchmark import benchmark
from qedeploy.bench.gates import parse_gate
from qedeploy.bench.report.comparisons import FLOAT_TWIN, THIS_MODEL, W8A8_TWIN
from qedeploy.bench.report.document import BenchResult, read_result, to_text
from qedeploy.bench.report.output import output_folder, write_results
from qedeploy.errors import UserError
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Bits
from qedeploy.runtimes.runner import RunnerOptions
from tests.bench.graphs import BRIEF_OPTIONS, convolution, exported, relu


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def result(folder) -> BenchResult:
    exported(folder / "model.onnx")
    return benchmark(folder / "model.onnx", BRIEF_OPTIONS)


@pytest.fixture(scope="module")
def plain(folder) -> BenchResult:
    return benchmark(convolution(folder / "plain.onnx"), BRIEF_OPTIONS)


def test_every_layer_has_a_row_and_a_time(result, folder):
    names = [layer.name for layer in expand_layers(exported(folder / "again.onnx"))]
    assert [row.name for row in result.profiled.layers] == names
    assert all(row.seconds > 0 for row in result.profiled.layers)
    row = next(row for row in result.profiled.layers if row.name == "stage1.block2.depthwise")
    assert (row.nominal, row.executed) == (Bits(weight=5, activation=5), Bits(weight=8, activation=8))
    assert row.rate == pytest.approx(row.executed_bitops / row.seconds)
    assert all(any("Q" in node for node in row.nodes) for row in result.profiled.layers)


def test_layers_and_overheads_sum_to_the_whole(result):
    assert result.profiled.total == pytest.approx(result.profiled.whole, rel=1e-9)
    assert {part.name for part in result.profiled.overheads} >= {"clip to a narrower range", "runtime between nodes"}
    assert "other nodes" not in {part.name for part in result.profiled.overheads}
    parts = (*result.profiled.layers, *result.profiled.overheads)
    assert sum(len(part.nodes) for part in parts) == len(result.profiled.nodes)


def test_twins_are_timed_beside_the_model(result):
    assert [item.name for item in result.compared] == [THIS_MODEL, FLOAT_TWIN, W8A8_TWIN]
    own, floating, twin = result.compared
    assert own.ratio is None
    assert floating.totals is None
    assert twin.totals.nominal_bitops == twin.totals.executed_bitops == pytest.approx(own.totals.executed_bitops)
    assert own.totals.nominal_bitops < own.totals.executed_bitops
    assert twin.ratio.low <= twin.ratio.value <= twin.ratio.high


def test_it_says_plainly_that_the_bits_gain_nothing(result):
    said = next(finding for finding in result.findings if "carried in INT8" in finding)
    assert said.startswith("W5A5 is carried in INT8")
    assert "executed BitOps equal those of W8A8" in said
    assert "gain no" in said


def test_correlations_and_time_model_cover_all_layers(result):
    assert {item.estimate for item in result.correlations} >= {"Nominal BitOps", "Executed BitOps"}
    assert all(item.layers == len(result.profiled.layers) for item in result.correlations)
    assert result.time_model is not None
    assert [item.name for item in result.time_model.layers] == [row.name for row in result.profiled.layers]


def test_a_document_reads_back(result, plain, tmp_path):
    for number, found in enumerate((result, plain)):
        path = tmp_path / f"{number}.json"
        path.write_text(to_text(found), encoding="utf-8")
        assert read_result(path) == found
        assert all(math.isfinite(value) for value in _numbers(json.loads(path.read_text())))


def _numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, float) else []


def test_a_document_of_another_form_is_refused(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text('{"format": "qedeploy-bench/9", "seed": "x"}')
    with pytest.raises(UserError, match="format: expected qedeploy-bench/1, found 'qedeploy-bench/9'"):
        read_result(path)


def test_a_damaged_document_names_its_fields(result, tmp_path):
    document = json.loads(to_text(result))
    document["summary"]["median"] = "fast"
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"summary\.median: "):
        read_result(path)


def test_a_model_without_metadata_has_the_layers_of_its_graph_and_says_what_is_missing(plain):
    assert plain.model.profile is None
    assert plain.compared == ()
    rows = plain.profiled.layers
    assert [row.name for row in rows] == ["first"]
    assert {row.lowering for row in rows} == {"float32"}
    assert plain.totals.executed_bitops == sum(row.macs for row in rows) * 32 * 32
    assert plain.profiled.total == pytest.approx(plain.profiled.whole, rel=1e-9)
    assert any("no qedeploy metadata" in warning for warning in plain.warnings)


def test_a_model_with_damaged_metadata_is_measured_and_says_so(folder):
    path = folder / "damaged.onnx"
    exported(path)
    model = onnx.load(path)
    (structure,) = (item for item in model.metadata_props if item.key == "qedeploy.structure")
    structure.value = structure.value[:100]
    onnx.save(model, path)
    found = benchmark(path, BRIEF_OPTIONS)
    assert "stem" in {row.name for row in found.profiled.layers}
    assert any("quantized layers run in integers" in text for text in found.findings)
    assert any("damaged.onnx: metadata qedeploy.structure: missing or not JSON" in text for text in found.warnings)


def test_two_models_and_a_gate(folder):
    small, large = convolution(folder / "small.onnx"), convolution(folder / "large.onnx", channels=64, size=64)
    options = dataclasses.replace(BRIEF_OPTIONS, against=small, gates=(parse_gate("p50>1.05x"), parse_gate("p50>1min")))
    with pytest.raises(UserError, match="expected the measured model's inputs"):
        benchmark(large, options)
    found = benchmark(
        convolution(folder / "wide.onnx", channels=256), dataclasses.replace(options, variation_limit=1e9)
    )
    assert [item.name for item in found.compared] == [THIS_MODEL, "small.onnx"]
    relative, absolute = found.verdicts
    # 32 times the channels: a gate that this run cannot decide would be no gate.
    assert relative.outcome == "failed"
    assert relative.ratio is not None
    assert relative.ratio.low > 1.05
    assert absolute.outcome == "passed"


def test_a_ratio_needs_another_model(folder):
    with pytest.raises(UserError, match="--against"):
        benchmark(folder / "missing.onnx", dataclasses.replace(BRIEF_OPTIONS, gates=(parse_gate("p50>1.05x"),)))


def test_twins_can_be_left_out_and_follow_the_batch(folder):
    exported(folder / "open.onnx")
    alone = benchmark(folder / "open.onnx", dataclasses.replace(BRIEF_OPTIONS, twins=False))
    assert alone.compared == ()
    batched = benchmark(folder / "open.onnx", dataclasses.replace(BRIEF_OPTIONS, runner=RunnerOptions(batch=2)))
    assert batched.runner.batch == 2
    assert batched.totals.nominal_bitops == pytest.approx(2 * alone.totals.nominal_bitops)
    assert len(batched.compared) == 3


def test_results_go_beside_the_model_and_never_into_a_room(tmp_path):
    assert output_folder(tmp_path / "model.onnx", None) == tmp_path
    assert output_folder(tmp_path / "model.onnx", tmp_path / "new") == tmp_path / "new"
    for room in ("search", "export", "profiles"):
        with pytest.raises(UserError, match="name another folder for results with --out"):
            output_folder(tmp_path / room / "model.onnx", None)
        assert output_folder(tmp_path / "model.onnx", tmp_path / room) == tmp_path / room
    with pytest.raises(UserError, match="name another folder for results with --out"):
        output_folder(tmp_path / "model.onnx", Path(qedeploy.__file__).parent / "search")
    file = relu(tmp_path / "file.onnx")
    for out in (file, file / "below"):
        with pytest.raises(UserError, match="expected a folder"):
            output_folder(tmp_path / "model.onnx", out)


def test_both_files_are_written(plain, tmp_path):
    written = write_results(plain, tmp_path / "out")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["bench.json", "report.html"]
    assert read_result(written.document) == plain
