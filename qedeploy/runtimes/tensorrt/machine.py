"""What this machine offers TensorRT: its version and the GPU, probed in a child process before anything is loaded.

TensorRT ends in a segmentation fault when it loads a plan without a usable driver, so the driver is asked first.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from qedeploy.errors import MissingRuntimeError
from qedeploy.runtimes.tensorrt.child import Emit, run_child, serve

OLDEST = (10, 16)
"""The oldest TensorRT that qedeploy is written for; 10.16 and 11 share the calls it makes."""

OLDEST_CAPABILITY = (7, 5)
"""Turing, the oldest GPU of TensorRT 10.5 to 11.4 (its support matrix)."""

INSTALL = "pip install 'qedeploy[tensorrt]'"

_ATTRIBUTE_MULTIPROCESSORS, _ATTRIBUTE_MAJOR, _ATTRIBUTE_MINOR = 16, 75, 76


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU by its marketing name; `capability` is the compute capability ("7.5"), `cuda` the driver's newest CUDA."""

    name: str
    capability: str
    multiprocessors: int
    memory_bytes: int
    cuda: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.capability})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorrtMachine:
    """TensorRT's version and the GPU, each None where this machine lacks it.

    What is missing or cannot be used is said by `lacks_tensorrt` and `lacks_gpu`, each with its mend behind the last
    colon, both empty where engines can be built.
    """

    tensorrt: str | None
    gpu: Gpu | None
    lacks_tensorrt: str = ""
    lacks_gpu: str = ""

    def require(self) -> tuple[str, Gpu]:
        """Return version and GPU; raises MissingRuntimeError with everything that is missing and how to get it."""
        if self.tensorrt is None or self.gpu is None or self.lacks_gpu:
            raise MissingRuntimeError("; ".join(filter(None, (self.lacks_tensorrt, self.lacks_gpu))))
        return self.tensorrt, self.gpu


def probe() -> TensorrtMachine:
    """Return what this machine offers, asked in a child process."""
    found = run_child(__name__, {}, subject="this machine", doing="looking for a GPU")
    return TensorrtMachine(**{**found, "gpu": Gpu(**found["gpu"]) if found["gpu"] else None})


def inspect_machine() -> TensorrtMachine:
    """Return what this machine offers, asked in this process."""
    version: str | None = None
    gpu: Gpu | None = None
    lacks_tensorrt = ""
    try:
        version = tensorrt_version()
    except MissingRuntimeError as error:
        lacks_tensorrt = str(error)
    try:
        gpu = find_gpu()
        lacks_gpu = "; ".join(_unsuitable(gpu))
    except MissingRuntimeError as error:
        lacks_gpu = str(error)
    return TensorrtMachine(tensorrt=version, gpu=gpu, lacks_tensorrt=lacks_tensorrt, lacks_gpu=lacks_gpu)


def load_tensorrt() -> Any:
    """Return the module `tensorrt`; raises MissingRuntimeError where it is absent, broken or too old."""
    try:
        module = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise MissingRuntimeError(f"TensorRT is not installed ({error}): {INSTALL}") from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise MissingRuntimeError(f"TensorRT is installed and does not load ({reason}): {INSTALL}") from error
    version = getattr(module, "__version__", None)
    if version is None or not hasattr(module, "Builder"):
        raise MissingRuntimeError(f"the module `tensorrt` that is installed is not TensorRT's: {INSTALL}")
    if _major_minor(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingRuntimeError(f"TensorRT {version} is too old, expected {oldest} or later: {INSTALL} --upgrade")
    return module


def tensorrt_version() -> str:
    """Return the version of the installed TensorRT; raises MissingRuntimeError as `load_tensorrt` does."""
    return str(load_tensorrt().__version__)


def find_gpu() -> Gpu:
    """Return the first GPU that the driver shows; raises MissingRuntimeError where there is no driver or no GPU."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError as error:
        raise MissingRuntimeError(
            f"no NVIDIA driver ({name} is not there): run this on a machine with an NVIDIA GPU"
        ) from error
    _check(driver.cuInit(0), "cuInit")
    count, device, version, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    _check(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if not count.value:
        raise MissingRuntimeError("the NVIDIA driver shows no GPU: check CUDA_VISIBLE_DEVICES and nvidia-smi")
    _check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(driver.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    _check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    text = ctypes.create_string_buffer(256)
    _check(driver.cuDeviceGetName(text, len(text), device), "cuDeviceGetName")

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        _check(driver.cuDeviceGetAttribute(ctypes.byref(value), number, device), "cuDeviceGetAttribute")
        return value.value

    return Gpu(
        name=text.value.decode("utf-8", "replace"),
        capability=f"{attribute(_ATTRIBUTE_MAJOR)}.{attribute(_ATTRIBUTE_MINOR)}",
        multiprocessors=attribute(_ATTRIBUTE_MULTIPROCESSORS),
        memory_bytes=memory.value,
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def _unsuitable(gpu: Gpu) -> list[str]:
    found = []
    if _major_minor(gpu.capability) < OLDEST_CAPABILITY:
        found.append(f"{gpu} is older than Turing (7.5), which TensorRT needs: use another GPU")
    needed = _cuda_of_wheels()
    if needed is not None and _major_minor(gpu.cuda) < (needed, 0):
        found.append(
            f"TensorRT's packages are for CUDA {needed}, the driver knows {gpu.cuda} at most: "
            f"update the driver, or pip install tensorrt-cu{needed - 1}"
        )
    return found


def _cuda_of_wheels() -> int | None:
    # Packages of the system (deb, rpm) do not tell Python; then the driver's own error has to do.
    for major in (13, 12):
        for package in (f"tensorrt-cu{major}", f"tensorrt-cu{major}-libs", f"tensorrt-cu{major}-bindings"):
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
            return major
    return None


def _check(status: int, call: str) -> None:
    if status:
        raise MissingRuntimeError(
            f"the NVIDIA driver is there and no GPU can be used ({call}: CUDA error {status}): check nvidia-smi"
        )


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:2])


def _answer(request: Mapping[str, Any], emit: Emit) -> Mapping[str, Any]:
    del request, emit
    return asdict(inspect_machine())


if __name__ == "__main__":
    serve(_answer)
