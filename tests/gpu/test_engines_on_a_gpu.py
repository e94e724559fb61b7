"""The whole path on a GPU: build, refuse, run and measure, with nothing pretended.

Written without a GPU at hand, from documentation: the first run on one is what tells whether it holds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.export.compile import BuildChoice, build_artefact
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.latency.table import Part, read_table
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Bits
from qedeploy.qdq import simulation
from qedeploy.runtimes.nvidia.inspector import read_description
from qedeploy.runtimes.nvidia.record import read_record, record_path
from qedeploy.runtimes.nvidia.report import read_figures
from qedeploy.runtimes.nvidia.runner import TensorRTRunner
from qedeploy.runtimes.runner import RunnerOptions
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import qedeploy
from tests.tensorrt_cpu.models import W4A16, structure

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu_machine")]

CARRIED = Bits(weight=4, activation=4)
STRUCTURES = {
    "W8A8": (structure(channels=32, bottleneck=64, resolution=32), "t4-int8"),
    "W4A4 5x5": (
        structure(
            expand=CARRIED, depthwise=CARRIED, project=CARRIED, kernel=5, channels=32, bottleneck=64, resolution=32
        ),
        "t4-int8",
    ),
    "W8A8 7x7": (structure(kernel=7, channels=32, bottleneck=64, resolution=32), "t4-int8"),
    "W4A16": (
        structure(
            expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16, channels=64, bottleneck=256, resolution=32
        ),
        "t4-int4",
    ),
}


def checkpoint(folder: Path, name: str = "W8A8") -> Path:
    described, profile = STRUCTURES[name]
    path = folder / "model.pth"
    save_checkpoint(path, build(described, unsigned_activation_bits=7, seed=0), profile=profile, recipe={})
    return path


@pytest.mark.parametrize("name", STRUCTURES)
def test_an_engine_computes_what_its_plan_says(name, tmp_path):
    result = export_checkpoint(checkpoint(tmp_path, name), settings=ExportSettings(images=4))
    outcome = build_artefact(result, BuildChoice.REQUIRED, {"engine_batch": "4"})
    assert outcome.artefact is not None
    images = outcome.export.prepared.images
    expected = simulation.logits(outcome.export.prepared.network, images).numpy()
    with TensorRTRunner(outcome.artefact.path, RunnerOptions(batch=4)) as runner:
        (found,) = runner.infer({runner.description.inputs[0].name: images.numpy()}).values()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.75


@pytest.mark.parametrize("name", STRUCTURES)
def test_an_engine_is_measured_and_joined(name, tmp_path):
    path = checkpoint(tmp_path, name)
    done = qedeploy("export", path, "--engine", "required", timeout=1200)
    assert done.returncode == 0, done.stderr
    done = qedeploy("bench", tmp_path / "engine.plan", "--duration", "500ms")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "bench.json")
    engine = read_figures(result.engine, "bench.json")
    assert engine.times.gpu.median > 0
    assert result.runner.settings["cuda_graph"] == "on"
    names = {name for row in engine.rows for name in row.layers}
    assert names == {layer.name for layer in expand_layers(STRUCTURES[name][0])}
    assert engine.int8_mac_share is not None
    if name == "W8A8":
        assert engine.int8_mac_share > 0.5
    total = sum(row.seconds or 0.0 for row in result.profiled.layers) + sum(
        part.seconds for part in result.profiled.overheads
    )
    assert total == pytest.approx(result.profiled.whole)


def test_the_record_holds_the_engines_layers(tmp_path, gpu_machine):
    done = qedeploy("export", checkpoint(tmp_path), "--engine", "required", timeout=1200)
    assert done.returncode == 0, done.stderr
    record = read_record(tmp_path / "engine.plan")
    assert record is not None
    assert record.gpu == gpu_machine.gpu
    assert record.tensorrt == gpu_machine.tensorrt
    description = read_description(record.engine_layers, "engine.json")
    assert description.detailed
    assert description.generation == int(record.tensorrt.split(".")[0])


def test_timings_are_kept_for_the_next_build(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    result = export_checkpoint(checkpoint(tmp_path))
    first = build_artefact(result, BuildChoice.REQUIRED, {}).artefact
    (cache,) = (tmp_path / "cache").rglob("*.cache")
    assert cache.stat().st_size > 1000
    second = build_artefact(result, BuildChoice.REQUIRED, {}).artefact
    assert first is not None
    assert second is not None


def damaged(plan: Path, change) -> None:
    record_path(plan).unlink()
    plan.write_bytes(change(plan.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [lambda content: content[: len(content) // 2], lambda content: b"x" * 10_000, lambda content: content[::-1]],
    ids=["cut short", "foreign", "corrupt"],
)
def test_a_damaged_plan_is_refused_without_a_crash(change, tmp_path):
    assert qedeploy("export", checkpoint(tmp_path), "--engine", "required", timeout=1200).returncode == 0
    damaged(tmp_path / "engine.plan", change)
    done = qedeploy("bench", tmp_path / "engine.plan", "--duration", "100ms")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_plan_of_another_gpu_is_refused_by_name(tmp_path):
    assert qedeploy("export", checkpoint(tmp_path), "--engine", "required", timeout=1200).returncode == 0
    path = tmp_path / "engine.json"
    record = json.loads(path.read_text())
    record["gpu"]["name"] = "Another GPU"
    path.write_text(json.dumps(record))
    done = qedeploy("bench", tmp_path / "engine.plan")
    assert done.returncode == 4
    assert "built for Another GPU" in done.stderr


def test_more_memory_than_the_gpu_has_is_one_line(tmp_path):
    done = qedeploy("export", checkpoint(tmp_path), "--engine", "required", "--engine-batch", 2**22, timeout=1200)
    assert done.returncode == 3
    assert done.stderr.strip().count("\n") == 0


def test_a_latency_table_is_measured_searched_on_and_holds(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_RECIPE)
    asked = ("--profile", "t4-int8", "--recipe", "small.toml")
    done = qedeploy("measure", *asked, "--minutes", "1", "--out", "table.json", cwd=tmp_path, timeout=1200)
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "table.json")
    assert table.runtime["name"] == "TensorRT"
    assert {point.shape.part for point in table.points} == set(Part)
    assert table.calibration.networks >= 4
    done = qedeploy("search", *asked, "--latency-table", "table.json", "--budget", "latency=10ms", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
