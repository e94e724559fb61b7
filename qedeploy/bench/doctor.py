"""What this machine can do: runtimes, devices, versions, and what to install for the rest.

Nothing here fails for what is missing: an absence is a finding with its remedy. TensorRT and the CUDA driver are asked
in a child process, because both are native code that can end a process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qedeploy.bench.machine import Machine, describe_machine
from qedeploy.profiles.loader import profile_names
from qedeploy.search.latency.tables import describe_kept

_PROBE_SECONDS = 60

_TENSORRT_PROBE = """
import json, tensorrt
print(json.dumps({"version": tensorrt.__version__}))
"""

_GPU_PROBE = """
import json, pynvml
pynvml.nvmlInit()
def text(value):
    return value.decode() if isinstance(value, bytes) else value
gpus = []
for index in range(pynvml.nvmlDeviceGetCount()):
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    gpus.append({
        "name": text(pynvml.nvmlDeviceGetName(handle)),
        "compute_capability": f"{major}.{minor}",
        "memory_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
    })
print(json.dumps({"driver": text(pynvml.nvmlSystemGetDriverVersion()), "gpus": gpus}))
"""


class Status(StrEnum):
    """Whether a thing is there; `limited` where it is and cannot be used in full."""

    READY = "ready"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked for: what was found, and where it is missing or limited, what mends it."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def diagnose(machine: Machine | None = None) -> tuple[Finding, ...]:
    """Return the findings about this machine, in the order in which a person asks for them."""
    tensorrt, gpu = tensorrt_finding(), gpu_finding()
    return (
        cpu_finding(machine or describe_machine()),
        _package_finding("PyTorch", "torch", "qedeploy search writes model.pth with it, qedeploy export reads it"),
        _package_finding("ONNX", "onnx", "qedeploy export writes graphs with it"),
        onnxruntime_finding(),
        tensorrt,
        gpu,
        engine_finding(tensorrt, gpu),
        tables_finding(),
        _package_finding(
            "Dask", "distributed", "--cluster measures and searches on other machines with it", "'qedeploy[cluster]'"
        ),
    )


def tables_finding() -> Finding:
    """Return which profiles have a latency table that `qedeploy measure` kept."""
    kept = [f"{name} ({len(tables)})" for name in profile_names() if (tables := describe_kept(name))]
    if kept:
        return Finding(name="latency tables", status=Status.READY, detail=", ".join(kept))
    remedy = "qedeploy measure --profile cpu-int8, to search with --budget latency=4ms"
    return Finding(name="latency tables", status=Status.MISSING, detail="none was measured here", remedy=remedy)


def cpu_finding(machine: Machine) -> Finding:
    """Return the CPU, its cores and memory, and whether 8-bit products are fast on it."""
    sets = ", ".join(machine.instruction_sets) or "no vector instructions that 8-bit kernels use"
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    detail = f"{machine.cpu}, {machine.usable_cores} usable cores, {memory}; {sets}"
    if machine.int8_products:
        return Finding(name="CPU", status=Status.READY, detail=detail)
    remedy = (
        "INT8 runs, without instructions for 8-bit dot products; prefer a CPU with VNNI (x86) or dot products (Arm)"
    )
    return Finding(name="CPU", status=Status.LIMITED, detail=detail, remedy=remedy)


def onnxruntime_finding() -> Finding:
    """Return what ONNX Runtime is installed, with its execution providers."""
    finding = _package_finding("ONNX Runtime", "onnxruntime", "qedeploy bench measures model.onnx with it")
    if finding.status is Status.MISSING:
        return finding
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return Finding(name=finding.name, status=Status.READY, detail=f"{finding.detail}; providers: {providers}")


def tensorrt_finding() -> Finding:
    """Return whether TensorRT's Python package imports, and its version."""
    remedy = "pip install 'qedeploy[tensorrt]' (on Jetson, JetPack brings it)"
    if importlib.util.find_spec("tensorrt") is None:
        return Finding(name="TensorRT", status=Status.MISSING, detail="not installed", remedy=remedy)
    answer, reason = _ask(_TENSORRT_PROBE)
    if answer is None:
        return Finding(name="TensorRT", status=Status.LIMITED, detail=f"does not import: {reason}", remedy=remedy)
    return Finding(name="TensorRT", status=Status.READY, detail=answer["version"])


def gpu_finding() -> Finding:
    """Return the NVIDIA driver and GPUs that NVML sees."""
    if importlib.util.find_spec("pynvml") is None:
        remedy = "pip install 'qedeploy[tensorrt]' to look for one"
        return Finding(name="NVIDIA GPU", status=Status.MISSING, detail="NVML is not installed", remedy=remedy)
    answer, reason = _ask(_GPU_PROBE)
    if answer is None or not answer["gpus"]:
        detail = f"no driver or device answers: {reason}" if answer is None else "a driver and no device"
        remedy = "install NVIDIA's driver (580 or later for CUDA 13), or use a CPU profile"
        return Finding(name="NVIDIA GPU", status=Status.MISSING, detail=detail, remedy=remedy)
    gpus = ", ".join(
        f"{gpu['name']} (compute {gpu['compute_capability']}, {gpu['memory_bytes'] / 2**30:.0f} GiB)"
        for gpu in answer["gpus"]
    )
    return Finding(name="NVIDIA GPU", status=Status.READY, detail=f"{gpus}; driver {answer['driver']}")


def engine_finding(tensorrt: Finding, gpu: Finding) -> Finding:
    """Return whether TensorRT engines can be built and measured here."""
    name = "TensorRT engines"
    missing = [finding.name for finding in (tensorrt, gpu) if finding.status is not Status.READY]
    if missing:
        detail = f"cannot be built or measured without {' and '.join(missing)}; the ONNX for them can be written"
        return Finding(name=name, status=Status.MISSING, detail=detail, remedy="see above")
    return Finding(
        name=name, status=Status.READY, detail="qedeploy export builds engine.plan, qedeploy bench measures it"
    )


def _package_finding(name: str, distribution: str, purpose: str, install: str = "") -> Finding:
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            name=name,
            status=Status.MISSING,
            detail=f"not installed; {purpose}",
            remedy=f"pip install {install or distribution}",
        )
    return Finding(name=name, status=Status.READY, detail=version)


def _ask(
    program: str, run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
) -> tuple[dict[str, Any] | None, str]:
    """Run `program` in a child; return its JSON answer, or None and the last line of what it said."""
    try:
        done = run([sys.executable, "-c", program], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode < 0:
        return None, f"the process ended by signal {-done.returncode}"
    lines = done.stderr.strip().splitlines()
    if done.returncode != 0:
        return None, lines[-1] if lines else f"exit code {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1]), ""
