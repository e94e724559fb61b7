"""From a checkpoint to an engine: what an export does with TensorRT, with a GPU that only the tests believe in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from qedeploy.cli.build_progress import BuildProgress
from qedeploy.cli.export_tables import print_artefact
from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.export.compile import BuildChoice, build_artefact
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.files import sha256
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.structure import Bits
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.metadata import read_metadata
from qedeploy.runtimes.nvidia import engine as engines
from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine
from qedeploy.runtimes.nvidia.record import read_record
from qedeploy.runtimes.nvidia.settings import parse_settings
from qedeploy.runtimes.tensorrt.runtime import TensorRT
from tests.cli.console import qedeploy
from tests.tensorrt_cpu.models import structure

VERSION = "11.4.0.106"
GPU = Gpu(name="Tesla T4", capability="7.5", multiprocessors=40, memory_bytes=16 * 2**30, cuda="13.0")
HERE = TensorrtMachine(tensorrt=VERSION, gpu=GPU)
DEPTHWISE = ("stage1.block1.depthwise", "stage2.block1.depthwise", "stage2.block2.depthwise")


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bits = Bits(weight=4, activation=4)
    described = structure(expand=bits, depthwise=bits, project=bits, kernel=5)
    path = tmp_path / "model.pth"
    save_checkpoint(path, build(described, unsigned_activation_bits=7, seed=0), profile="t4-int8", recipe={})
    return path


def test_an_export_gets_its_engine(checkpoint):
    result = export_checkpoint(checkpoint, settings=ExportSettings(profile="t4-int8"))
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    with Progress(console=console) as bar:
        shown = BuildProgress(bar, "TensorRT")
        outcome = build_artefact(result, BuildChoice.AUTO, {}, on_event=shown.show, runtime=TensorRT(lambda: HERE))
        assert not bar.tasks
    plan = checkpoint.with_name("engine.plan")
    assert outcome.artefact is not None
    assert outcome.artefact.path == plan
    record = read_record(plan)
    assert record is not None
    assert record.gpu == GPU
    assert record.onnx_sha256 == sha256(result.model)
    # The plan is RTX's and there is no GPU: the inspector's child says so, and the engine stands without its layers.
    assert record.engine_layers is None
    print_artefact(outcome, console)
    said = screen.getvalue()
    assert "engine's layers are not recorded" in said
    assert "built in" in said


def test_layers_without_a_kernel_lose_their_quantization_and_the_build_goes_on(checkpoint, monkeypatch):
    monkeypatch.setattr(engines, "_BUILDER", "tests.tensorrt_cpu.reluctant_builder")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ["PYTHONPATH"]]))
    result = export_checkpoint(checkpoint)
    events = []
    runtime = TensorRT(lambda: HERE)
    outcome = build_artefact(result, BuildChoice.REQUIRED, {}, on_event=events.append, runtime=runtime)
    assert outcome.artefact is not None
    assert [text.partition(":")[0] for text in outcome.artefact.warnings] == list(DEPTHWISE)
    record = read_record(outcome.artefact.path)
    assert record is not None
    assert record.dropped == DEPTHWISE
    said = [event["text"] for event in events if event["event"] == "notice"]
    assert [text for text in said if "no INT8 kernel" in text] == [
        f"no INT8 kernel for {name}: building in float16 there" for name in DEPTHWISE
    ]
    # The ONNX file, its report, the engine's record and what the command holds tell of the same network.
    metadata = read_metadata(result.model)
    assert metadata == record.metadata
    assert outcome.export.plan == metadata.plan
    lowered = {layer.name: layer.lowering for layer in metadata.plan.layers}
    assert [name for name, lowering in lowered.items() if lowering is Lowering.FLOAT16] == list(DEPTHWISE)
    report = json.loads(result.report.read_text())
    assert report["model"]["sha256"] == sha256(result.model) == record.onnx_sha256


def test_a_missing_gpu_is_a_reason_or_an_error(checkpoint):
    result = export_checkpoint(checkpoint)
    missing = TensorrtMachine(tensorrt=VERSION, gpu=None, lacks_gpu="no NVIDIA driver")
    runtime = TensorRT(lambda: missing)
    outcome = build_artefact(result, BuildChoice.AUTO, {}, runtime=runtime)
    assert outcome.artefact is None
    assert outcome.reason == "no NVIDIA driver"
    with pytest.raises(MissingRuntimeError, match="no NVIDIA driver"):
        build_artefact(result, BuildChoice.REQUIRED, {}, runtime=runtime)
    assert not checkpoint.with_name("engine.plan").exists()


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        ((), 0, "no engine.plan: no NVIDIA driver"),
        (("--engine", "never"), 0, "not asked for"),
        (("--engine", "required"), 4, "engine.plan is not: no NVIDIA driver"),
        (("--batch", "2", "--engine-batch", "1:4:8"), 2, "--engine-batch 1:4:8"),
        (("--engine-batch", "8:4"), 2, "batch: expected"),
        (("--workspace", "much"), 2, "--workspace: expected"),
    ],
)
def test_the_command_with_tensorrt_and_no_gpu(options, code, expected, checkpoint):
    done = qedeploy("export", checkpoint, *options)
    assert done.returncode == code, done.stderr
    assert expected in " ".join((done.stdout + done.stderr).split())
    assert checkpoint.with_suffix(".onnx").exists() == (code in {0, 4})


@pytest.fixture
def pretended_driver(tmp_path_factory, monkeypatch) -> None:
    """A driver that shows a GPU: the builder of TensorRT for RTX does not ask it for more."""
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).parents[1] / "runtimes" / "tensorrt" / "pretended_gpu" / "libcuda.c"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(folder / "libcuda.so.1")], check=True, timeout=60)
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join([os.environ["LD_LIBRARY_PATH"], str(folder)]))


@pytest.mark.usefixtures("pretended_driver")
def test_the_command_builds_an_engine_where_a_driver_shows_a_gpu(checkpoint):
    done = qedeploy(
        "export", checkpoint, "--engine", "required", "--engine-batch", "1:4:8", "--workspace", "1GiB",
        "--optimization-level", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "engine.plan" in done.stdout
    record = read_record(checkpoint.with_name("engine.plan"))
    assert record is not None
    assert record.gpu is not None
    assert record.gpu.name == "Pretended T4"
    assert str(record.settings.batch) == "1:4:8"
    assert record.settings.optimization_level == 1
    # Nothing here can run it: no CUDA for Python, or none that this driver satisfies.
    done = qedeploy("bench", checkpoint.with_name("engine.plan"))
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1


def test_a_profile_of_another_runtime_has_no_engine(tmp_path):
    save_checkpoint(tmp_path / "model.pth", build(structure(), seed=0), profile="cpu-int8", recipe={})
    result = export_checkpoint(tmp_path / "model.pth")
    assert build_artefact(result, BuildChoice.AUTO, {}).reason == ""
    with pytest.raises(RequestError, match="runs on onnxruntime"):
        build_artefact(result, BuildChoice.REQUIRED, {})


def test_settings_of_the_command_line():
    found = parse_settings(batch=None, engine_batch="1:4:8", workspace="2GiB", optimization_level=5, timing_cache=False)
    assert (found.batch.minimum, found.batch.optimum, found.batch.maximum) == (1, 4, 8)
    assert found.workspace_bytes == 2**31
    assert parse_settings(batch=3, engine_batch=None, workspace=None).batch.static == 3


API = """
import sys
sys.path.insert(0, sys.argv[1])
import tensorrt_bindings as trt
print(trt.__version__)
for path in sys.argv[2:]:
    value = trt
    for name in path.split("."):
        value = getattr(value, name)
"""

USED = (
    "Builder.create_network", "Builder.create_builder_config", "Builder.create_optimization_profile",
    "Builder.build_serialized_network", "NetworkDefinitionCreationFlag.STRONGLY_TYPED", "OnnxParser.parse",
    "OnnxParser.num_errors", "OnnxParser.get_error", "ParserError.code", "ParserError.desc", "ParserError.node_name",
    "ParserError.node_operator", "INetworkDefinition.num_inputs", "INetworkDefinition.get_input", "ITensor.shape",
    "IOptimizationProfile.set_shape", "IBuilderConfig.add_optimization_profile",
    "IBuilderConfig.builder_optimization_level", "IBuilderConfig.profiling_verbosity",
    "IBuilderConfig.progress_monitor", "IBuilderConfig.set_memory_pool_limit", "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.set_timing_cache", "IBuilderConfig.get_timing_cache", "ITimingCache.serialize",
    "MemoryPoolType.WORKSPACE", "ProfilingVerbosity.DETAILED", "IProgressMonitor.phase_start",
    "IProgressMonitor.step_complete", "IProgressMonitor.phase_finish", "ILogger.log", "Runtime.deserialize_cuda_engine",
    "ICudaEngine.create_execution_context", "ICudaEngine.create_engine_inspector", "ICudaEngine.num_io_tensors",
    "ICudaEngine.get_tensor_name", "ICudaEngine.get_tensor_mode", "ICudaEngine.get_tensor_shape",
    "ICudaEngine.get_tensor_dtype", "ICudaEngine.get_tensor_profile_shape", "ICudaEngine.device_memory_size_v2",
    "TensorIOMode.INPUT", "IExecutionContext.set_input_shape", "IExecutionContext.get_tensor_shape",
    "IExecutionContext.set_tensor_address", "IExecutionContext.execute_async_v3", "IExecutionContext.profiler",
    "IExecutionContext.enqueue_emits_profile", "IExecutionContext.report_to_profiler", "IProfiler.report_layer_time",
    "EngineInspector.execution_context", "EngineInspector.get_engine_information", "LayerInformationFormat.JSON",
    "nptype",
)  # fmt: skip


def test_tensorrt_10_16_has_every_call_that_is_made(older_bindings):
    """Its bindings import without its libraries; that its calls do the same is documented and was not run."""
    done = subprocess.run(
        [sys.executable, "-c", API, str(older_bindings), *USED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10.16")


def test_tensorrt_11_has_every_call_that_is_made(tensorrt_on_cpu):
    done = subprocess.run(
        [sys.executable, "-c", API, str(tensorrt_on_cpu.modules), *USED],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("11.")
