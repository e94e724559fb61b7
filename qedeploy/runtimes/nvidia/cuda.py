"""The part of CUDA that measuring needs, small enough that cuda-python or torch can provide it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import MissingRuntimeError


class Buffer(Protocol):
    """Memory on the GPU at `address`, and the pinned memory of the same size that it is filled from and copied to."""

    @property
    def address(self) -> int:
        """Return where it lies on the GPU."""
        ...

    @property
    def host(self) -> NDArray[np.uint8]:
        """Return the pinned bytes of the host."""
        ...


class Cuda(Protocol):
    """One stream of one GPU. Every call raises UserError subclasses with CUDA's reason where it fails."""

    name: str

    @property
    def stream(self) -> int:
        """Return the stream's handle, as TensorRT takes it."""
        ...

    def allocate(self, size: int) -> Buffer:
        """Return a Buffer of `size` bytes; raises RequestError where the GPU's memory does not suffice."""
        ...

    def upload(self, buffer: Any) -> None:
        """Queue the copy of a buffer from the host to the GPU."""
        ...

    def download(self, buffer: Any) -> None:
        """Queue the copy of a buffer from the GPU to the host."""
        ...

    def event(self) -> Any:
        """Return an event that can be recorded."""
        ...

    def record(self, event: Any) -> None:
        """Queue the recording of an event."""
        ...

    def milliseconds(self, start: Any, end: Any) -> float:
        """Return the time between two recorded events that have passed."""
        ...

    def synchronize(self) -> None:
        """Wait until everything queued is done."""
        ...

    def capture(self, enqueue: Callable[[], bool]) -> Callable[[], None] | None:
        """Return a function that launches the work of `enqueue` as one CUDA graph, None if it cannot be captured."""
        ...

    def bus_id(self) -> str:
        """Return the GPU's PCI address, by which NVML finds it; "" where the library does not tell."""
        ...


def open_cuda(*, spin_wait: bool) -> Cuda:
    """Return CUDA through cuda-python, or through torch; raises MissingRuntimeError where neither is installed.

    `spin_wait` makes the host wait by spinning instead of sleeping, which is quicker to notice the end.
    """
    if _installed("cuda.bindings.runtime"):
        from qedeploy.runtimes.nvidia.cuda_python import CudaPython

        return CudaPython(spin_wait=spin_wait)
    if _installed("torch"):
        import torch

        if torch.version.cuda is not None:
            from qedeploy.runtimes.nvidia.cuda_torch import CudaTorch

            return CudaTorch(spin_wait=spin_wait)
    raise MissingRuntimeError("CUDA cannot be called from Python: pip install cuda-python (or a CUDA build of torch)")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
