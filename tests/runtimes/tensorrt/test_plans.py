"""`qedeploy bench engine.plan` with a pretended GPU, CUDA and TensorRT: what is done around them, not what they do.

No GPU was at hand: the stand-ins follow the documentation, so these tests hold the measuring process, its protocol and
its report together. Whether TensorRT does what it documents is for tests/gpu to say.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.runtimes.nvidia.machine import Gpu
from qedeploy.runtimes.nvidia.record import EngineRecord, write_record
from qedeploy.runtimes.nvidia.report import read_figures
from qedeploy.runtimes.nvidia.runner import TensorRTRunner
from qedeploy.runtimes.nvidia.settings import EngineSettings
from qedeploy.runtimes.runner import RunnerOptions
from tests.cli.console import qedeploy
from tests.runtimes.tensorrt.engines import engine, model, seconds

PRETENDED = Path(__file__).parent / "pretended_gpu"
GPU = Gpu(name="Pretended T4", capability="7.5", multiprocessors=40, memory_bytes=2**34, cuda="13.0")
BRIEF = ("--duration", "50ms", "--warm-up", "5ms")
SLOW = "stage1.block1.depthwise"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the pretended driver needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    command = ["cc", "-shared", "-fPIC", str(PRETENDED / "libcuda.c"), "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture(autouse=True)
def _pretended(driver, monkeypatch):
    for name, folder in (("LD_LIBRARY_PATH", driver), ("PYTHONPATH", PRETENDED)):
        monkeypatch.setenv(name, str(folder), prepend=os.pathsep)


def make_plan(folder: Path, *, record: bool = True, batch=(1, 1, 1), **changes: object) -> Path:
    metadata = model()
    document = engine(metadata, generation=11, slow=SLOW)
    times = {name: value * 1e3 for name, value in seconds(document).items()}
    plan = folder / "engine.plan"
    plan.write_text(json.dumps({"pretended plan": times, "inspector": document, "batch": batch}))
    if record:
        values = {
            "tensorrt": "11.4.0.106", "gpu": GPU, "plan_sha256": sha256(plan), "onnx": "model.onnx",
            "onnx_sha256": "0" * 64, "settings": EngineSettings(), "profile": "t4-int8",
            "structure": metadata.structure, "lowering": metadata.plan,
        }  # fmt: skip
        write_record(EngineRecord(**{**values, **changes}), plan)
    return plan


def test_a_plan_is_measured_and_joined_to_its_layers(tmp_path):
    plan = make_plan(tmp_path)
    done = qedeploy("bench", plan, *BRIEF)
    assert done.returncode == 0, done.stderr
    for expected in ("TensorRT 11.4.0.106 (Pretended T4 (compute capability 7.5))", "cuda_graph=on", SLOW, "reformats"):
        assert expected in " ".join(done.stdout.split())
    result = read_result(tmp_path / "bench.json")
    engine = read_figures(result.engine, "bench.json")
    assert engine.times.gpu.median == pytest.approx(145e-6, rel=0.5)
    assert result.summary.median >= engine.times.gpu.median
    assert engine.times.upload is not None
    assert [item.name for item in engine.missed] == [SLOW]
    assert {row.name: row.seconds for row in result.profiled.layers}[SLOW] == pytest.approx(10e-6)
    assert result.runner.settings["transfers"] == "left out"
    assert "NVML" in " ".join(result.warnings) or "clocks were not sampled" in " ".join(result.warnings).lower()


def test_transfers_and_no_graph_are_what_they_say(tmp_path):
    plan = make_plan(tmp_path)
    done = qedeploy("bench", plan, *BRIEF, "--transfers", "--no-cuda-graph", "--no-spin-wait", "--json")
    assert done.returncode == 0, done.stderr
    settings = json.loads(done.stdout)["runner"]["settings"]
    assert (settings["cuda_graph"], settings["wait"], settings["transfers"]) == ("off", "blocking", "measured")


def test_an_engine_that_cannot_be_captured_runs_without_a_graph(tmp_path, monkeypatch):
    monkeypatch.setenv("PRETEND_NO_CAPTURE", "1")
    done = qedeploy("bench", make_plan(tmp_path), *BRIEF)
    assert done.returncode == 0, done.stderr
    assert "this engine cannot be captured" in " ".join(done.stdout.split())


def test_a_plan_without_its_record_is_measured_alone(tmp_path):
    plan = make_plan(tmp_path, record=False)
    done = qedeploy("bench", plan, *BRIEF)
    assert done.returncode == 0, done.stderr
    assert "engine.json is not beside the plan" in " ".join(done.stdout.split())
    result = read_result(tmp_path / "bench.json")
    assert result.totals is None
    assert read_figures(result.engine, "bench.json").int8_mac_share is None


@pytest.mark.parametrize(("batch", "code"), [(2, 0), (4, 0), (9, 2)])
def test_a_range_of_batches(batch, code, tmp_path):
    plan = make_plan(tmp_path, batch=(1, 4, 8))
    done = qedeploy("bench", plan, *BRIEF, "--batch", batch, "--json")
    assert done.returncode == code, done.stderr
    if code:
        assert "runs batches of 1 to 8" in done.stderr
    else:
        assert json.loads(done.stdout)["runner"]["batch"] == batch


def test_a_query_goes_in_and_its_answer_comes_out(tmp_path):
    plan = make_plan(tmp_path, batch=(1, 2, 2))
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16))
    with TensorRTRunner(plan, RunnerOptions(batch=2)) as runner:
        found = runner.infer({"image": images})
        again = runner.infer({"image": 2 * images})
    assert list(found) == ["logits"]
    assert found["logits"].dtype == np.float32
    expected = images.mean(axis=(1, 2, 3))[:, None] * np.arange(1, 11)
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(again["logits"], 2 * found["logits"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"picture": np.ones((1, 3, 16, 16))}, "expected values for its inputs image, found values for picture"),
        ({"image": np.ones((2, 3, 16, 16))}, "input 'image': expected values of shape 1x3x16x16, found 2x3x16x16"),
    ],
)
def test_a_query_of_another_name_or_shape_is_refused(inputs, expected, tmp_path):
    with TensorRTRunner(make_plan(tmp_path), RunnerOptions()) as runner, pytest.raises(UserError, match=expected):
        runner.infer(inputs)


def test_two_plans_are_compared_in_alternation(tmp_path):
    (tmp_path / "other").mkdir()
    other = make_plan(tmp_path / "other")
    done = qedeploy("bench", make_plan(tmp_path), *BRIEF, "--against", other, "--max-variation", "1000")
    assert done.returncode == 0, done.stderr
    assert "In alternation" in done.stdout


@pytest.mark.parametrize(
    ("changes", "variables", "code", "expected"),
    [
        ({"tensorrt": "10.16.1.11"}, {}, 4, "built by TensorRT 10.16.1.11, this machine has 11.4.0.106"),
        ({"gpu": None}, {}, 4, "built for no GPU, this machine has Pretended T4"),
        ({}, {"PRETEND_VERSION": "10.3.0"}, 4, "TensorRT 10.3.0 is too old, expected 10.16 or later"),
        ({}, {"PRETEND_NO_MEMORY": "1"}, 3, "out of GPU memory"),
        ({}, {"PRETEND_CRASH": "1"}, 3, "TensorRT crashed (signal 6, SIGABRT) while loading the plan"),
    ],
)
def test_what_cannot_be_measured_is_one_line(changes, variables, code, expected, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = qedeploy("bench", make_plan(tmp_path, **changes), *BRIEF)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_a_corrupt_plan_without_a_record_is_told_by_the_loader(tmp_path):
    plan = tmp_path / "engine.plan"
    plan.write_bytes(os.urandom(100))
    done = qedeploy("bench", plan, *BRIEF)
    assert done.returncode == 2
    assert f"{plan}: not a TensorRT plan" in done.stderr
