"""`qedeploy bench` with a latency table, as a user runs it: predicted against measured, and the way back."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.latency.table import Source, read_table, to_document, write_table
from qedeploy.network.structure import Bits
from tests.bench.graphs import exported
from tests.bench.latency_tables import table_for
from tests.cli.console import qedeploy

BRIEF = ("--duration", "300ms", "--warm-up", "10ms", "--no-twins")
ROWS = "kind,in_channels,out_channels,kernel,stride,size,bits,us"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-prediction")
    structure = exported(folder / "model.onnx", Bits(weight=8, activation=8))
    table = table_for(structure)
    write_table(folder / "table.json", table)
    write_table(folder / "threads.json", dataclasses.replace(table, settings={"threads": 2, "batch": 1}))
    rows = []
    for point in table.points:
        shape = dataclasses.asdict(point.shape) | {"bits": point.shape.bits}
        rows.append(",".join(str(value) for value in (*shape.values(), 10)))
    (folder / "times.csv").write_text("\n".join([ROWS, *rows]))
    (folder / "bad.csv").write_text(f"{ROWS}\n{rows[0]}x\n")
    return folder


def test_a_bench_prints_what_was_predicted_and_writes_it(folder):
    done = qedeploy("bench", "model.onnx", *BRIEF, "--latency-table", "table.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Predicted by the latency table table.json" in done.stdout
    assert "The latency table predicted" in done.stdout
    prediction = read_result(folder / "bench.json").prediction
    assert prediction is not None
    assert prediction.table.file == "table.json"
    assert prediction.pace is not None
    assert prediction.measured == read_result(folder / "bench.json").summary.median
    assert sum(layer.measured for layer in prediction.layers) == pytest.approx(prediction.measured)
    assert json.loads((folder / "bench.json").read_text())["prediction"]["table"]["points"] == prediction.table.points
    assert "Predicted against measured" in (folder / "report.html").read_text()


def test_without_a_table_nothing_is_said_of_one(folder):
    done = qedeploy("bench", "model.onnx", *BRIEF, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "latency table" not in done.stdout
    assert "latency table" not in (folder / "report.html").read_text().lower()
    assert read_result(folder / "bench.json").prediction is None


def test_a_table_of_other_threads_is_no_prediction(folder):
    done = qedeploy("bench", "model.onnx", *BRIEF, "--latency-table", "threads.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "it has 2 threads instead of 1 thread" in " ".join(done.stdout.split())
    assert "The latency table predicted" not in done.stdout


def test_imported_times_predict_with_a_warning(folder):
    done = qedeploy("bench", "model.onnx", *BRIEF, "--latency-table", "times.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "imported times, which may be" in " ".join(done.stdout.split())


def test_an_update_feeds_the_run_back_to_the_file_it_was_read_from(folder, tmp_path):
    path = tmp_path / "table.json"
    shutil.copy(folder / "table.json", path)
    options = (*BRIEF, "--latency-table", path, "--update-table", "--max-variation", "1e6", "--out", tmp_path)
    done = qedeploy("bench", "model.onnx", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "updated table.json" in done.stdout
    taught, result = read_table(path), read_result(tmp_path / "bench.json")
    assert {point.source for point in taught.points} == {Source.BENCH}
    assert taught.calibration.networks == len(taught.networks) == 1
    update = result.table_update
    assert update is not None
    assert (update.replaced, update.added) == (len(taught.points), 0)
    assert update.measured is not None
    assert update.after == pytest.approx(update.measured, rel=0.05)
    untouched = {key: to_document(read_table(folder / "table.json"))[key] for key in ("machine", "runtime", "date")}
    assert {key: to_document(taught)[key] for key in untouched} == untouched
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bench.json", "report.html", "table.json"]


def test_a_run_that_is_unstable_is_written_and_not_fed_back(folder, tmp_path):
    path = tmp_path / "table.json"
    shutil.copy(folder / "table.json", path)
    before = path.read_bytes()
    options = (*BRIEF, "--latency-table", path, "--update-table", "--max-variation", "0", "--out", tmp_path)
    done = qedeploy("bench", "model.onnx", *options, cwd=folder)
    assert done.returncode == 3
    assert "error: table.json was not updated: latency varies" in done.stderr
    assert path.read_bytes() == before
    assert read_result(tmp_path / "bench.json").table_update is not None


REFUSED = {
    "threads": (("--latency-table", "threads.json", "--update-table"), 3, "2 threads instead of 1 thread"),
    "an imported table": (("--latency-table", "times.csv", "--update-table"), 3, "holds imported times"),
    "no table": (("--update-table",), 2, "expected a latency table of profile cpu-int8, found none"),
    "a missing file": (("--latency-table", "missing.json"), 2, "missing.json"),
    "a bad row": (("--latency-table", "bad.csv"), 2, "bad.csv: line 2: us: expected a number"),
    "another profile": (("--latency-table", "table.json", "--profile", "t4-int8"), 2, "expected the model's profile"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_measured(case, folder, tmp_path):
    arguments, code, expected = REFUSED[case]
    before = {path.name: path.read_bytes() for path in folder.glob("t*.json")}
    done = qedeploy("bench", "model.onnx", *BRIEF, *arguments, "--out", tmp_path, cwd=folder)
    assert done.returncode == code
    assert expected in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
    assert {path.name: path.read_bytes() for path in folder.glob("t*.json")} == before
