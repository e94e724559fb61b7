"""What this machine can do: runtimes, devices, versions, and what to install for the rest.

Nothing here fails for what is missing: an absence is a finding with its remedy. TensorRT and the CUDA driver are asked
by the probe that export and bench go by, so that what is ready here is ready there.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from enum import StrEnum

from qedeploy.bench.measure.machine import Machine, describe_machine
from qedeploy.errors import UserError
from qedeploy.latency.store import describe_kept
from qedeploy.profiles.loader import profile_names
from qedeploy.runtimes.tensorrt.machine import TensorrtMachine, probe
from qedeploy.runtimes.tensorrt.nvml import driver_version


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
    found = _probed()
    tensorrt, gpu = tensorrt_finding(found), gpu_finding(found)
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


def tensorrt_finding(found: TensorrtMachine) -> Finding:
    """Return whether TensorRT loads and is recent enough, and its version."""
    if found.tensorrt is not None:
        return Finding(name="TensorRT", status=Status.READY, detail=found.tensorrt)
    detail, remedy = _mend(found.lacks_tensorrt)
    absent = importlib.util.find_spec("tensorrt") is None
    status = Status.MISSING if absent else Status.LIMITED
    return Finding(name="TensorRT", status=status, detail=detail, remedy=f"{remedy} (on Jetson, JetPack brings it)")


def gpu_finding(found: TensorrtMachine) -> Finding:
    """Return the GPU that the driver shows, and whether TensorRT can use it."""
    if found.gpu is None:
        detail, remedy = _mend(found.lacks_gpu)
        return Finding(name="NVIDIA GPU", status=Status.MISSING, detail=detail, remedy=remedy)
    driver = driver_version()
    detail = (
        f"{found.gpu}, {found.gpu.memory_bytes / 2**30:.0f} GiB; driver "
        f"{f'{driver}, ' if driver else ''}for CUDA {found.gpu.cuda} at most"
    )
    if not found.lacks_gpu:
        return Finding(name="NVIDIA GPU", status=Status.READY, detail=detail)
    lack, remedy = _mend(found.lacks_gpu)
    return Finding(name="NVIDIA GPU", status=Status.LIMITED, detail=f"{detail}; {lack}", remedy=remedy)


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


def _probed() -> TensorrtMachine:
    try:
        return probe()
    except UserError as error:
        return TensorrtMachine(tensorrt=None, gpu=None, lacks_tensorrt=str(error), lacks_gpu=str(error))


def _mend(lack: str) -> tuple[str, str]:
    # The errors of this tool end in what mends them, behind the last colon.
    what, _, remedy = lack.rpartition(": ")
    return what, remedy
