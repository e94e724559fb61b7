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
from qedeploy.runtimes.nvidia.child import Emit, run_child, serve
from qedeploy.runtimes.nvidia.product import TENSORRT, Product

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

    def require_version(self) -> str:
        """Return the version; raises MissingRuntimeError with how to get it where it is missing."""
        if self.tensorrt is None:
            raise MissingRuntimeError(self.lacks_tensorrt)
        return self.tensorrt

    def require(self) -> tuple[str, Gpu]:
        """Return version and GPU; raises MissingRuntimeError with everything that is missing and how to get it."""
        if self.tensorrt is None or self.gpu is None or self.lacks_gpu:
            raise MissingRuntimeError("; ".join(filter(None, (self.lacks_tensorrt, self.lacks_gpu))))
        return self.tensorrt, self.gpu


def probe(product: Product = TENSORRT) -> TensorrtMachine:
    """Return what this machine offers `product`, asked in a child process."""
    found = run_child(
        __name__, product.to_document(), subject="this machine", doing="looking for a GPU", label=product.label
    )
    return TensorrtMachine(**{**found, "gpu": Gpu(**found["gpu"]) if found["gpu"] else None})


def inspect_machine(product: Product = TENSORRT) -> TensorrtMachine:
    """Return what this machine offers `product`, asked in this process."""
    version: str | None = None
    gpu: Gpu | None = None
    lacks_tensorrt = ""
    try:
        version = tensorrt_version(product)
    except MissingRuntimeError as error:
        lacks_tensorrt = str(error)
    try:
        gpu = find_gpu()
        lacks_gpu = "; ".join(_unsuitable(gpu, product))
    except MissingRuntimeError as error:
        lacks_gpu = str(error)
    return TensorrtMachine(tensorrt=version, gpu=gpu, lacks_tensorrt=lacks_tensorrt, lacks_gpu=lacks_gpu)


def load_tensorrt(product: Product = TENSORRT) -> Any:
    """Return the module of `product`; raises MissingRuntimeError where it is absent, broken or too old."""
    label, install = product.label, product.install
    try:
        module = importlib.import_module(product.module)
    except ModuleNotFoundError as error:
        raise MissingRuntimeError(f"{label} is not installed ({error}): {install}") from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise MissingRuntimeError(f"{label} is installed and does not load ({reason}): {install}") from error
    version = getattr(module, "__version__", None)
    if version is None or not hasattr(module, "Builder"):
        raise MissingRuntimeError(f"the module `{product.module}` that is installed is not {label}'s: {install}")
    if _major_minor(version) < product.oldest:
        oldest = ".".join(map(str, product.oldest))
        raise MissingRuntimeError(f"{label} {version} is too old, expected {oldest} or later: {install} --upgrade")
    return module


def tensorrt_version(product: Product = TENSORRT) -> str:
    """Return the version that is installed; raises MissingRuntimeError as `load_tensorrt` does."""
    return str(load_tensorrt(product).__version__)


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


def _unsuitable(gpu: Gpu, product: Product) -> list[str]:
    found = []
    if _major_minor(gpu.capability) < product.oldest_gpu:
        oldest = ".".join(map(str, product.oldest_gpu))
        found.append(
            f"{gpu} is older than {product.architecture} ({oldest}), which {product.label} needs: use another GPU"
        )
    needed = _cuda_of_wheels(product.wheels)
    if needed is not None and _major_minor(gpu.cuda) < (needed, 0):
        found.append(
            f"{product.label}'s packages are for CUDA {needed}, the driver knows {gpu.cuda} at most: "
            f"update the driver, or pip install {product.wheels}-cu{needed - 1}"
        )
    return found


def _cuda_of_wheels(wheels: str) -> int | None:
    # Packages of the system (deb, rpm) do not tell Python; then the driver's own error has to do.
    for major in (13, 12):
        for package in (f"{wheels}-cu{major}", f"{wheels}-cu{major}-libs", f"{wheels}-cu{major}-bindings"):
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
    del emit
    return asdict(inspect_machine(Product.from_document(request)))


if __name__ == "__main__":
    serve(_answer)
