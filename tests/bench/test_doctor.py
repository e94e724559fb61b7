"""What the doctor says of machines that are not this one."""

from __future__ import annotations

import pytest

from qedeploy.bench.doctor import diagnose
from qedeploy.errors import RequestError
from qedeploy.runtimes.findings import Readiness
from qedeploy.runtimes.nvidia.doctor import engine_finding, gpu_finding, tensorrt_finding
from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine
from qedeploy.runtimes.registry import runtimes
from qedeploy.runtimes.tensorrt.runtime import TensorRT

T4 = Gpu(name="Tesla T4", capability="7.5", multiprocessors=40, memory_bytes=16 * 2**30, cuda="13.0")
READY = TensorrtMachine(tensorrt="10.16.1.11", gpu=T4)


def findings(machine):
    tensorrt, gpu = tensorrt_finding(machine), gpu_finding(machine)
    return tensorrt, gpu, engine_finding(tensorrt, gpu)


def test_a_gpu_and_its_tensorrt_are_ready():
    tensorrt, gpu, engines = findings(READY)
    assert [item.status for item in (tensorrt, gpu, engines)] == [Readiness.READY] * 3
    assert tensorrt.detail == "10.16.1.11"
    assert "Tesla T4 (compute capability 7.5), 16 GiB" in gpu.detail
    assert "CUDA 13.0" in gpu.detail


@pytest.mark.parametrize(
    ("machine", "detail", "remedy"),
    [
        (
            TensorrtMachine(tensorrt=None, gpu=T4, lacks_tensorrt="TensorRT 10.3 is too old: pip install --upgrade"),
            "TensorRT 10.3 is too old",
            "pip install --upgrade",
        ),
        (
            TensorrtMachine(tensorrt="11.4", gpu=None, lacks_gpu="no NVIDIA driver (libcuda.so.1): get one"),
            "no NVIDIA driver (libcuda.so.1)",
            "get one",
        ),
        (
            TensorrtMachine(tensorrt="11.4", gpu=T4, lacks_gpu="the driver knows 12.4 at most: update the driver"),
            "the driver knows 12.4 at most",
            "update the driver",
        ),
    ],
)
def test_what_would_stop_an_engine_is_not_ready(machine, detail, remedy):
    *parts, engines = findings(machine)
    (lacking,) = (item for item in parts if item.status is not Readiness.READY)
    assert detail in lacking.detail
    assert remedy in lacking.remedy
    assert engines.status is Readiness.MISSING
    assert lacking.name in engines.detail


def test_a_probe_that_crashes_is_a_finding():
    def crash():
        raise RequestError("this machine: TensorRT crashed while looking for a GPU")

    by_name = {item.name: item for item in TensorRT(crash).findings()}
    assert by_name["NVIDIA GPU"].status is Readiness.MISSING
    assert "crashed" in by_name["NVIDIA GPU"].detail + by_name["NVIDIA GPU"].remedy


def test_every_runtime_is_looked_for():
    by_name = {item.name: item for item in diagnose()}
    found = {runtime.name: {item.name for item in runtime.findings()} for runtime in runtimes()}
    assert list(by_name)[:3] == ["CPU", "PyTorch", "ONNX"]
    assert list(by_name)[-2:] == ["latency tables", "Dask"]
    assert set().union(*found.values()) == set(list(by_name)[3:-2])
    assert found["tensorrt"] == {"TensorRT", "NVIDIA GPU", "TensorRT engines"}
    assert by_name["CPU"].status is not Readiness.MISSING
