"""What this machine has of TensorRT, by the probe that export and bench go by: ready here is ready there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from qedeploy.errors import UserError
from qedeploy.runtimes.findings import Finding, Readiness
from qedeploy.runtimes.nvidia.machine import TensorrtMachine
from qedeploy.runtimes.nvidia.nvml import driver_version


def findings(look: Callable[[], TensorrtMachine]) -> tuple[Finding, ...]:
    """Return what there is of TensorRT, of a GPU, and so of engines."""
    try:
        found = look()
    except UserError as error:
        found = TensorrtMachine(tensorrt=None, gpu=None, lacks_tensorrt=str(error), lacks_gpu=str(error))
    tensorrt, gpu = tensorrt_finding(found), gpu_finding(found)
    return tensorrt, gpu, engine_finding(tensorrt, gpu)


def tensorrt_finding(found: TensorrtMachine) -> Finding:
    """Return whether TensorRT loads and is recent enough, and its version."""
    if found.tensorrt is not None:
        return Finding(name="TensorRT", status=Readiness.READY, detail=found.tensorrt)
    detail, remedy = _mend(found.lacks_tensorrt)
    absent = importlib.util.find_spec("tensorrt") is None
    status = Readiness.MISSING if absent else Readiness.LIMITED
    return Finding(name="TensorRT", status=status, detail=detail, remedy=f"{remedy} (on Jetson, JetPack brings it)")


def gpu_finding(found: TensorrtMachine) -> Finding:
    """Return the GPU that the driver shows, and whether TensorRT can use it."""
    if found.gpu is None:
        detail, remedy = _mend(found.lacks_gpu)
        return Finding(name="NVIDIA GPU", status=Readiness.MISSING, detail=detail, remedy=remedy)
    driver = driver_version()
    detail = (
        f"{found.gpu}, {found.gpu.memory_bytes / 2**30:.0f} GiB; driver "
        f"{f'{driver}, ' if driver else ''}for CUDA {found.gpu.cuda} at most"
    )
    if not found.lacks_gpu:
        return Finding(name="NVIDIA GPU", status=Readiness.READY, detail=detail)
    lack, remedy = _mend(found.lacks_gpu)
    return Finding(name="NVIDIA GPU", status=Readiness.LIMITED, detail=f"{detail}; {lack}", remedy=remedy)


def engine_finding(tensorrt: Finding, gpu: Finding) -> Finding:
    """Return whether TensorRT engines can be built and measured here."""
    name = "TensorRT engines"
    missing = [finding.name for finding in (tensorrt, gpu) if finding.status is not Readiness.READY]
    if missing:
        detail = f"cannot be built or measured without {' and '.join(missing)}; the ONNX for them can be written"
        return Finding(name=name, status=Readiness.MISSING, detail=detail, remedy="see above")
    return Finding(
        name=name, status=Readiness.READY, detail="qedeploy export builds engine.plan, qedeploy bench measures it"
    )


def _mend(lack: str) -> tuple[str, str]:
    # The errors of this tool end in what mends them, behind the last colon.
    what, _, remedy = lack.rpartition(": ")
    return what, remedy
