"""CUDA through cuda-python (`cuda.bindings.runtime`, the same in 12.9 and 13)."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import MissingRuntimeError, RequestError

_SCHEDULE_SPIN, _SCHEDULE_BLOCKING = 1, 4
_STREAM_NON_BLOCKING = 1
_EVENT_DEFAULT, _EVENT_BLOCKING = 0, 1
_OUT_OF_MEMORY = 2
_ALREADY_ACTIVE = 708
"""The device is in use already and keeps its way of waiting (CUDA 10 and earlier)."""
_NO_DEVICE_OR_DRIVER = {3, 34, 35, 36, 100, 101, 803, 804}
"""Initialization, stub library, driver too old, call needs a newer driver, no device, invalid device, mismatches."""


@dataclass(frozen=True, slots=True, eq=False)
class PinnedBuffer:
    """A Buffer of two allocations that live as long as the process."""

    address: int
    host: NDArray[np.uint8]


class CudaPython:
    """One stream of the first GPU."""

    def __init__(self, *, spin_wait: bool) -> None:
        try:
            self._runtime: Any = importlib.import_module("cuda.bindings.runtime")
        except ImportError as error:
            raise MissingRuntimeError(
                f"cuda-python is installed and does not load ({error}): pip install --upgrade cuda-python"
            ) from error
        version = getattr(importlib.import_module("cuda.bindings"), "__version__", "")
        self.name = f"cuda-python {version}".strip()
        self._event_flags = _EVENT_DEFAULT if spin_wait else _EVENT_BLOCKING
        (status,) = self._runtime.cudaSetDeviceFlags(_SCHEDULE_SPIN if spin_wait else _SCHEDULE_BLOCKING)
        if int(status) not in {0, _ALREADY_ACTIVE}:
            self._check(status, "cudaSetDeviceFlags")
        self._stream = self._call("cudaStreamCreateWithFlags", _STREAM_NON_BLOCKING)
        kinds = self._runtime.cudaMemcpyKind
        self._to_device, self._to_host = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost

    @property
    def stream(self) -> int:
        """Return the stream's handle."""
        return _handle(self._stream)

    def allocate(self, size: int) -> PinnedBuffer:
        """Return a buffer of `size` bytes."""
        address = int(self._call("cudaMalloc", size))
        pinned = int(self._call("cudaMallocHost", size))
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pinned))
        return PinnedBuffer(address, host)

    def upload(self, buffer: PinnedBuffer) -> None:
        """Queue the copy to the GPU."""
        self._copy(buffer.address, buffer.host.ctypes.data, buffer, self._to_device)

    def download(self, buffer: PinnedBuffer) -> None:
        """Queue the copy from the GPU."""
        self._copy(buffer.host.ctypes.data, buffer.address, buffer, self._to_host)

    def event(self) -> Any:
        """Return a new event."""
        return self._call("cudaEventCreateWithFlags", self._event_flags)

    def record(self, event: Any) -> None:
        """Queue the recording of `event`."""
        self._call("cudaEventRecord", event, self._stream)

    def milliseconds(self, start: Any, end: Any) -> float:
        """Return the time between two events."""
        return float(self._call("cudaEventElapsedTime", start, end))

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._call("cudaStreamSynchronize", self._stream)

    def capture(self, enqueue: Callable[[], bool]) -> Callable[[], None] | None:
        """Return a launch of what `enqueue` queues, None where it refuses to be captured."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        queued = enqueue()
        status, graph = self._runtime.cudaStreamEndCapture(self._stream)
        if not queued or int(status):
            # A failed capture leaves its error behind, which the next call would report as its own.
            self._runtime.cudaGetLastError()
            return None
        executable = self._call("cudaGraphInstantiate", graph, 0)
        launch, stream, check = self._runtime.cudaGraphLaunch, self._stream, self._check

        def replay() -> None:
            (status,) = launch(executable, stream)
            if int(status):
                check(status, "cudaGraphLaunch")

        return replay

    def bus_id(self) -> str:
        """Return the PCI address."""
        text = self._call("cudaDeviceGetPCIBusId", 32, 0)
        return bytes(text).split(b"\0")[0].decode("ascii", "replace")

    def _copy(self, target: int, source: int, buffer: PinnedBuffer, kind: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, buffer.host.nbytes, kind, self._stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status):
            self._check(status, name)
        return values[0] if values else None

    def _check(self, status: Any, name: str) -> None:
        _, text = self._runtime.cudaGetErrorString(status)
        said = text.decode() if isinstance(text, bytes) else str(text)
        if int(status) == _OUT_OF_MEMORY:
            raise RequestError(f"out of GPU memory ({name}): choose a smaller --batch, or free the GPU")
        if int(status) in _NO_DEVICE_OR_DRIVER:
            raise MissingRuntimeError(f"no GPU can be used ({name}: {said}): check the driver with nvidia-smi")
        raise RequestError(f"CUDA failed ({name}: {said}, error {int(status)})")


def _handle(stream: Any) -> int:
    try:
        utilities = importlib.import_module("cuda.bindings.utils")
        return int(utilities.get_cuda_native_handle(stream))
    except (ImportError, AttributeError):
        # cuda-python 12 has no such helper: there the object itself converts.
        return int(stream)
