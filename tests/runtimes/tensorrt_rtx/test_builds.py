"""TensorRT for RTX from its own wheels: plans for GPUs that are not here, built by its real parser and builder."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter

import pytest

from qedeploy import api
from qedeploy.errors import MissingRuntimeError, RequestError
from qedeploy.export.compile import BuildChoice, build_artefact
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.files import sha256
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.base import BuildSource
from qedeploy.runtimes.findings import Readiness
from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine
from qedeploy.runtimes.nvidia.record import read_record, require_same_machine
from qedeploy.runtimes.registry import find_runtime, runtime_of
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.tensorrt_rtx.runtime import TensorRTForRTX
from tests.cli.console import qedeploy
from tests.tensorrt_cpu.models import W4A16, structure

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX has wheels for x86-64 Linux and Windows")

RTX = find_runtime("tensorrt_rtx")
ADA = Gpu(name="NVIDIA GeForce RTX 4090", capability="8.9", multiprocessors=128, memory_bytes=24 * 2**30, cuda="13.0")
TURING = Gpu(name="NVIDIA GeForce RTX 2080", capability="7.5", multiprocessors=46, memory_bytes=2**33, cuda="13.0")


def checkpoint(folder, described=None):
    path = folder / "model.pth"
    network = build(described or structure(), unsigned_activation_bits=7, seed=0)
    save_checkpoint(path, network, profile="rtx-40", recipe={})
    return path


def exported(path, profile):
    return export_checkpoint(path, settings=ExportSettings(profile=profile, batch=1))


@pytest.mark.parametrize("profile", ["rtx-30", "rtx-40", "rtx-50"])
def test_an_export_is_built_for_a_gpu_that_is_not_here(profile, tmp_path):
    result = exported(checkpoint(tmp_path), profile)
    outcome = build_artefact(result, BuildChoice.REQUIRED, {})
    plan = tmp_path / "engine.plan"
    target = load_profile(profile).target
    assert outcome.path == plan
    assert f"for compute capability {target}, batch 1" in outcome.artefact.description
    record = read_record(plan)
    assert (record.gpu, record.target, record.profile) == (None, target, profile)
    assert record.plan_sha256 == sha256(plan)
    # The timing cache has no effect there, and asks for a GPU.
    assert not record.settings.timing_cache
    assert record.metadata.plan == result.plan
    # Its own runtime runs it, though TensorRT's plans end in the same suffix.
    assert runtime_of(plan) is RTX


FOUR_BIT_CONSTANT = re.compile(rb"const_payload_size=(\d+) dims=\{ (\d+) (\d+) \}[^\n]*? type=int4 \}")
"""How plans of 1.7.1 list what they hold: bytes, then rows and columns."""


def four_bit_constants(plan):
    """(weights, bytes) of each 4-bit constant that a plan holds."""
    listed = [tuple(int(group) for group in found.groups()) for found in FOUR_BIT_CONSTANT.finditer(plan.read_bytes())]
    return sorted((rows * columns, size) for size, rows, columns in listed)


def four_bit_layers(result):
    """(weights, bytes at 4 bits) of the layers that an export says have 4-bit weights."""
    names = [layer.name for layer in result.plan.layers if layer.lowering == "int4-weight-only"]
    counts = [result.prepared.network.layers[name].weight.size for name in names]
    return sorted((count, count // 2) for count in counts)


def parsed(path):
    """The network that the real parser makes of a file, by the type of each of its constants."""
    import tensorrt_rtx as trt

    log = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(log).create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, log).parse(path.read_bytes())
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return Counter(layer.get_output(0).dtype.name for layer in layers if layer.type == trt.LayerType.CONSTANT)


@pytest.mark.parametrize("profile", ["rtx-30", "rtx-40", "rtx-50"])
def test_4_bit_weights_stay_4_bit_in_the_plan(profile, tmp_path):
    described = structure(expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16)
    result = exported(checkpoint(tmp_path, described), profile)
    expected = four_bit_layers(result)
    assert parsed(result.model)["INT4"] == len(expected) == 8
    build_artefact(result, BuildChoice.REQUIRED, {})
    assert four_bit_constants(tmp_path / "engine.plan") == expected


@pytest.mark.parametrize("profile", ["t4-int4", "rtx-40"])
def test_the_4_bit_layers_of_a_searched_network_stay_4_bit(profile, tmp_path):
    """search --profile PROFILE --budget bitops=7.0G --budget size=300KB."""
    found = api.search(profile, budgets={"bitops": "7.0G", "size": "300KB"}, model=False).structure
    result = exported(checkpoint(tmp_path, dataclasses.replace(found, resolution=64)), "rtx-40")
    expected = four_bit_layers(result)
    assert parsed(result.model)["INT4"] == len(expected) == 17
    if profile == "rtx-40":
        build_artefact(result, BuildChoice.REQUIRED, {})
        assert four_bit_constants(tmp_path / "engine.plan") == expected


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("7.5", r"compute capability 7\.5: TensorRT for RTX has no INT8 on Turing"),
        ("9.0", "does not compile for Hopper"),
        ("6.1", r"6\.1: TensorRT for RTX compiles for 8\.0, 8\.6"),
    ],
)
def test_gpus_that_it_is_not_for_are_refused_with_the_reason(target, reason, tmp_path):
    profile = dataclasses.replace(load_profile("rtx-40"), target=target)
    source = BuildSource(model=tmp_path / "model.onnx", profile=profile)
    with pytest.raises(RequestError, match=reason):
        RTX.build(source, tmp_path / "engine.plan", {}, 1)


def test_without_a_target_it_takes_the_gpu_that_is_here(tmp_path):
    result = exported(checkpoint(tmp_path), "rtx-40")
    source = BuildSource(model=result.model)
    here = TensorRTForRTX(lambda: TensorrtMachine(tensorrt="1.7.1.116", gpu=ADA))
    assert "8.9" in here.build(source, tmp_path / "one.plan", {}, 1).description
    old = TensorRTForRTX(lambda: TensorrtMachine(tensorrt="1.7.1.116", gpu=TURING))
    with pytest.raises(RequestError, match="Turing"):
        old.build(source, tmp_path / "two.plan", {}, 1)
    with pytest.raises(MissingRuntimeError, match="driver"):
        RTX.build(source, tmp_path / "three.plan", {}, 1)


def test_a_plan_runs_on_the_gpus_that_it_was_compiled_for(tmp_path):
    build_artefact(exported(checkpoint(tmp_path), "rtx-40"), BuildChoice.REQUIRED, {})
    plan = tmp_path / "engine.plan"
    record = read_record(plan)
    require_same_machine(record, plan, record.tensorrt, ADA)
    with pytest.raises(MissingRuntimeError, match=r"built for compute capability 8\.9, this machine has .*2080"):
        require_same_machine(record, plan, record.tensorrt, TURING)
    with pytest.raises(MissingRuntimeError, match=r"built by TensorRT for RTX 1\.7"):
        require_same_machine(record, plan, "1.5.0.0", ADA, RTX.label)
    with pytest.raises(MissingRuntimeError, match=r"cannot be measured here: no NVIDIA driver"):
        RTX.open(plan, RunnerOptions()).__enter__()
    done = qedeploy("bench", plan)
    assert done.returncode == 4
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {plan}: cannot be measured here: no NVIDIA driver")
    assert json.loads(plan.with_suffix(".json").read_text())["target"] == "8.9"


def test_the_doctor_says_that_it_builds_here_and_runs_elsewhere():
    (found,) = RTX.findings()
    assert found.status is Readiness.LIMITED
    assert "builds engine.plan for profiles such as rtx-40 here, and runs none: no NVIDIA driver" in found.detail
    (ready,) = TensorRTForRTX(lambda: TensorrtMachine(tensorrt="1.7.1.116", gpu=ADA)).findings()
    assert ready.status is Readiness.READY
    absent = TensorrtMachine(tensorrt=None, gpu=None, lacks_tensorrt="TensorRT for RTX is not installed: pip install x")
    (missing,) = TensorRTForRTX(lambda: absent).findings()
    assert (missing.status, missing.remedy) == (Readiness.MISSING, "pip install x")


def test_layers_keep_to_the_bits_that_it_multiplies(tmp_path):
    path = checkpoint(tmp_path, structure(depthwise=Bits(weight=3, activation=5)))
    result = exported(path, "rtx-50")
    assert result.comparison.passed
    assert result.exact.passed
