"""Predicted against measured: the same layers on both sides, and no word of it where the table is another's."""

from __future__ import annotations

import dataclasses

import onnxruntime
import pytest

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.bench.prediction.expected import TableOptions, differences, expect
from qedeploy.bench.prediction.machine_speed import measure_at_pace
from qedeploy.bench.prediction.prediction import compare, prediction_findings, prediction_warnings
from qedeploy.errors import RequestError, UserError
from qedeploy.latency import store
from qedeploy.latency.table import Calibration, Part, Source, read_table, write_table
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Bits
from qedeploy.qdq.metadata import read_metadata
from qedeploy.runtimes.runner import RunnerDescription, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from tests.bench.graphs import BRIEF, convolution, exported
from tests.bench.latency_tables import expectation_of, profile_of, table_for
from tests.export.networks import small_structure

W8A8 = Bits(weight=8, activation=8)
STRUCTURE = small_structure(W8A8)
TABLE = table_for(STRUCTURE)
# Whatever else runs here while the tests do.
MACHINE = dataclasses.replace(describe_machine(), load=None)
RUNNER = RunnerDescription(
    runtime="ONNX Runtime",
    version=onnxruntime.__version__,
    device="CPU",
    latency="",
    inputs=(),
    batch=1,
    threads=1,
    settings={},
)


def test_both_sides_name_the_same_layers_and_sum_to_the_query():
    found = compare(expectation_of(STRUCTURE, TABLE), profile_of(STRUCTURE, 2e-5), 3e-4, pace=None)
    assert [layer.name for layer in found.layers] == [layer.name for layer in expand_layers(STRUCTURE)]
    assert sum(layer.measured for layer in found.layers) == pytest.approx(found.measured) == pytest.approx(3e-4)
    assert sum(layer.predicted for layer in found.layers) == pytest.approx(found.predicted)


def test_a_shortcut_counts_with_the_last_layer_of_its_block():
    found = compare(expectation_of(STRUCTURE, TABLE), profile_of(STRUCTURE, 2e-5), 19 * 2e-5, pace=None)
    layers = {layer.name: layer for layer in found.layers}
    assert layers["stage1.block1.project"].measured == pytest.approx(2 * layers["stage1.block1.expand"].measured)
    assert layers["stage1.block1.project"].predicted > 1.5 * layers["stage1.block1.expand"].predicted


def test_the_error_is_that_of_the_prediction_and_the_pace_is_told_apart_from_it():
    prediction = dataclasses.replace(
        compare(expectation_of(STRUCTURE, TABLE), profile_of(STRUCTURE, 2e-5), 1e-3, pace=1.25), predicted=8e-4
    )
    assert prediction.error == pytest.approx(-0.2)
    assert prediction.error_at_pace == pytest.approx(0.0)
    (finding,) = prediction_findings(prediction)
    assert "predicted 0.800 ms, 1.000 ms were measured: an error of -20.0%" in finding
    assert "1.25x as long as with the table: at that pace the error is +0.0%" in finding
    (finding,) = prediction_findings(dataclasses.replace(prediction, pace=1.01))
    assert "reference graph" not in finding


def test_the_worst_layers_come_first():
    nodes = profile_of(STRUCTURE, 2e-5)
    head = dataclasses.replace(nodes, nodes=tuple(
        dataclasses.replace(node, seconds=1e-3) if node.name == "head" else node for node in nodes.nodes
    ))  # fmt: skip
    wall = sum(node.seconds for node in head.nodes)
    prediction = compare(expectation_of(STRUCTURE, TABLE), head, wall, pace=None)
    assert [layer.name for layer in prediction.worst(1)] == ["head"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"runtime": {**TABLE.runtime, "version": "1.0"}}, f"1.0 instead of ONNX Runtime {RUNNER.version}"),
        ({"machine": {**TABLE.machine, "cpu": "Z80"}}, "Z80 with "),
        ({"machine": {**TABLE.machine, "instruction_sets": ()}}, "no instructions for 8 bits that are known instead"),
        ({"settings": {"threads": 4}}, "4 threads instead of 1 thread"),
        ({"settings": {"threads": 1, "batch": 8}}, "batch 8 instead of batch 1"),
        (
            {"points": (dataclasses.replace(TABLE.points[0], source=Source.IMPORTED),)},
            "imported times, which may be from another machine",
        ),
    ],
)  # fmt: skip
def test_a_table_of_other_circumstances_predicts_nothing_here(changes, expected):
    (found,) = differences(dataclasses.replace(TABLE, **changes), MACHINE, RUNNER)
    assert expected in found
    expectation = dataclasses.replace(expectation_of(STRUCTURE, TABLE), differences=(found,))
    prediction = compare(expectation, profile_of(STRUCTURE, 2e-5), 1e-3, pace=None)
    assert prediction_findings(prediction) == ()
    (warning,) = prediction_warnings(prediction, "")
    assert expected in warning
    assert "do not predict this run" in warning


def test_a_gpu_is_compared_by_its_name_and_not_by_the_machine_around_it():
    gpu = dataclasses.replace(RUNNER, device="A GPU", threads=7)
    table = dataclasses.replace(TABLE, runtime={**TABLE.runtime, "device": "A GPU"}, machine={})
    assert differences(table, MACHINE, gpu) == ()
    assert differences(TABLE, MACHINE, gpu) == ("CPU instead of A GPU",)


def test_a_table_of_the_same_circumstances_has_no_differences_once_it_is_read_again(tmp_path):
    read = read_table(write_table(tmp_path / "table.json", TABLE))
    assert differences(read, MACHINE, RUNNER) == ()


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    exported(tmp_path / "model.onnx", W8A8)
    return tmp_path / "model.onnx"


def kept(version: str, **changes):
    table = table_for(small_structure(W8A8, resolution=32), **changes)
    path = store.table_path("cpu-int8", "this device", "ONNX Runtime", version, table.settings["threads"])
    return write_table(path, table)


def test_of_the_tables_kept_the_one_of_this_machine_is_taken_and_else_the_last(model):
    metadata = read_metadata(model)
    assert expect(metadata, TableOptions(), MACHINE, RUNNER) == (None, "")
    old = kept("1.0", runtime={**TABLE.runtime, "version": "1.0"}, date="2026-11-22T12:00:00+00:00")
    found, _ = expect(metadata, TableOptions(), MACHINE, RUNNER)
    assert found is not None
    assert (found.path, len(found.differences)) == (old, 1)
    own = kept("2.0", date="2026-11-21T12:00:00+00:00")
    found, _ = expect(metadata, TableOptions(), MACHINE, RUNNER)
    assert found is not None
    assert (found.path, found.differences, found.beyond) == (own, (), ())


def test_layers_beyond_the_points_are_named(model, tmp_path):
    structure = small_structure(W8A8, resolution=32)
    table = table_for(structure)
    wider = tuple(
        dataclasses.replace(point, shape=dataclasses.replace(point.shape, out_channels=64))
        if point.shape.part is Part.HEAD
        else point
        for point in table.points
    )
    path = write_table(tmp_path / "table.json", dataclasses.replace(table, points=wider))
    found, _ = expect(read_metadata(model), TableOptions(file=path), MACHINE, RUNNER)
    assert found is not None
    assert found.beyond == ("head",)
    (warning,) = prediction_warnings(compare(found, profile_of(structure, 2e-5), 1e-3, None), "")
    assert "1 part of the network (head): what it predicts there is extrapolated" in warning


def test_a_table_that_fails_is_a_warning_unless_it_was_asked_for(model, tmp_path):
    metadata = read_metadata(model)
    path = kept("1.0", points=tuple(point for point in TABLE.points if point.shape.part is not Part.HEAD))
    found, problem = expect(metadata, TableOptions(), MACHINE, RUNNER)
    assert found is None
    assert "no head k1 s1" in problem
    assert problem in prediction_warnings(None, problem)[0]
    with pytest.raises(RequestError, match="no head k1 s1"):
        expect(metadata, TableOptions(file=path), MACHINE, RUNNER)
    path.write_text("{}")
    assert expect(metadata, TableOptions(), MACHINE, RUNNER)[0] is None


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {"update": True}, "expected a latency table of profile cpu-int8, found none"),
        ({"profile": "my-board"}, {"file": True}, "name its TOML file with --profile"),
        ({}, {"file": True, "profile": "t4-int8"}, "--profile t4-int8: expected the model's profile cpu-int8"),
    ],
)
def test_what_is_asked_for_and_not_to_be_had_is_an_error(changes, options, expected, model, tmp_path):
    metadata = read_metadata(model)
    assert metadata is not None
    named = TableOptions(
        file=write_table(tmp_path / "t.json", TABLE) if options.get("file") else None,
        profile=options.get("profile"),
        update=options.get("update", False),
    )
    with pytest.raises(UserError, match=expected):
        expect(dataclasses.replace(metadata, **changes), named, MACHINE, RUNNER)


def test_a_model_without_metadata_has_no_prediction(tmp_path):
    metadata = read_metadata(convolution(tmp_path / "plain.onnx"))
    assert expect(metadata, TableOptions(), MACHINE, RUNNER) == (None, "")
    with pytest.raises(UserError, match="carries no qedeploy metadata"):
        expect(metadata, TableOptions(update=True), MACHINE, RUNNER)


def test_the_pace_is_that_of_the_reference_graph(model):
    table = table_for(STRUCTURE, reference_seconds=1.0)
    with open_runner(model, RunnerOptions()) as runner:
        samples, pace = measure_at_pace(runner, BRIEF, expectation_of(STRUCTURE, table), RunnerOptions())
        assert len(samples.latency) >= BRIEF.iterations
        assert pace is not None
        assert 0 < pace < 0.5
        foreign = dataclasses.replace(expectation_of(STRUCTURE, table), differences=("x",))
        bare = expectation_of(STRUCTURE, dataclasses.replace(table, reference_seconds=None))
        for without in (None, foreign, bare):
            assert measure_at_pace(runner, BRIEF, without, RunnerOptions())[1] is None


def test_the_constant_is_predicted_with_the_classifier():
    plain, dearer = (
        expectation_of(STRUCTURE, dataclasses.replace(TABLE, calibration=Calibration(constant=constant)))
        for constant in (0.0, 1e-4)
    )
    gained = {name: dearer.layers[name] - plain.layers[name] for name in plain.layers}
    assert gained.pop("classifier") == pytest.approx(1e-4)
    assert set(gained.values()) == {0.0}
