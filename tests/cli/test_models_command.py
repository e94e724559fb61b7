"""`qedeploy models`: the table, the models that it builds, and their times."""

from __future__ import annotations

import dataclasses
import json

import pytest

from qedeploy.bench import published
from qedeploy.cli.models import build
from qedeploy.cli.models_tables import measured_table
from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.network.costs import structure_costs
from qedeploy.network.published import find_published
from qedeploy.runtimes import tensorrt
from qedeploy.runtimes.nvidia.machine import TensorrtMachine
from qedeploy.runtimes.tensorrt.runtime import TensorRT
from qedeploy.runtimes.timing import TimingProtocol
from tests.cli.console import qedeploy


def test_the_table_has_printed_and_recomputed_figures(tmp_path):
    done = qedeploy("models", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("Mixed7d0G"))
    assert row.split()[1:7] == ["70.80", "2.2", "2.17", "6.9", "6.84", "1224.537"]
    assert "No \nsingle accounting" in done.stdout or "No single accounting" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_has_every_accounting(tmp_path):
    done = qedeploy("models", "--json", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(done.stdout)["models"]}
    assert rows["MBV2-8bit"]["published"] == {"parameter_megabytes": 3.4, "bitops_giga": 19.2, "top1_percent": 71.9}
    products = next(item for item in rows["MBV2-8bit"]["bitops_accountings"] if item["name"] == "multiply-accumulates")
    assert products["value"] == pytest.approx(299_494_272 * 64)
    assert products["fits"] == "rounded"
    assert rows["Mixed19d2G"]["peak_memory_bytes"] == 1_254_400
    assert rows["Mixed7d0G"]["bitops"] == pytest.approx(64 * 106_853_001.5)


@pytest.mark.parametrize("name", ["mixed7d0g", "MBV2-4bit"])
def test_a_model_is_built_under_its_name(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build(name, classes=5, resolution=64)
    checkpoint = load_checkpoint(tmp_path / f"{name.lower()}.pth")
    assert checkpoint.structure.classifier.classes == 5
    assert checkpoint.structure.stages == find_published(name).structure.stages
    assert checkpoint.recipe["published"] == find_published(name).name
    assert f"next: qedeploy train {name.lower()}.pth --data DIR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options", "kind", "reason"),
    [
        ("mixed7", {}, UserError, r"did you mean Mixed7d0G\?.*MBV2-8bit, MBV2-4bit, Mixed19d2G, Mixed7d0G"),
        ("mbv2-8bit", {"profile": "nowhere"}, UserError, "no profile is named 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(name, options, kind, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=reason) as caught:
        build(name, **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_models_are_measured_side_by_side(tmp_path):
    models = [find_published("Mixed7d0G"), find_published("Mixed19d2G")]
    small = [
        dataclasses.replace(model, structure=dataclasses.replace(model.structure, resolution=32)) for model in models
    ]
    protocol = TimingProtocol(warm_up=0.01, duration=0.1)
    bench = published.bench_published(small, tmp_path, profile_name="cpu-int8", protocol=protocol)
    measured = bench.models
    assert [item.name for item in measured] == ["Mixed7d0G", "Mixed19d2G"]
    assert measured[0].against_first.value == 1.0
    assert all(item.executed_bitops > item.bitops for item in measured)
    assert all(item.summary.median > 0 for item in measured)
    assert measured_table(bench).row_count == 2
    assert "ONNX Runtime" in published.measured_notes(bench)[0]
    assert (tmp_path / "mixed19d2g.onnx").exists()


def test_a_structure_is_searched_under_each_printed_budget():
    found = dict(published.searched([find_published("MBV2-4bit"), find_published("Mixed7d0G")], "cpu-int8"))
    assert list(found) == ["searched 7G"]
    assert 6.9e9 < structure_costs(found["searched 7G"]).bitops <= 7e9


def test_a_device_that_only_searches_measures_nothing(tmp_path):
    with pytest.raises(RequestError, match="any-bits"):
        published.bench_published([find_published("Mixed7d0G")], tmp_path, profile_name="any-bits")


def test_a_device_that_is_not_here_is_refused_before_anything_is_searched(tmp_path, monkeypatch):
    machine = TensorrtMachine(tensorrt=None, gpu=None, lacks_tensorrt="TensorRT is not installed")
    monkeypatch.setattr(tensorrt, "RUNTIME", TensorRT(lambda: machine))
    with pytest.raises(MissingRuntimeError, match="TensorRT is not installed"):
        published.bench_published([find_published("Mixed7d0G")], tmp_path, profile_name="t4-int8")
    assert not list(tmp_path.iterdir())
