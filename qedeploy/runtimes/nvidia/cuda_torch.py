"""CUDA through torch, for machines that have a CUDA build of it and no cuda-python."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.errors import MissingRuntimeError, RequestError


@dataclass(frozen=True, slots=True, eq=False)
class TorchBuffer:
    """A Buffer of two torch tensors."""

    device: Any
    pinned: Any

    @property
    def address(self) -> int:
        """Return where it lies on the GPU."""
        return int(self.device.data_ptr())

    @property
    def host(self) -> NDArray[np.uint8]:
        """Return the pinned bytes."""
        array: NDArray[np.uint8] = self.pinned.numpy()
        return array


class CudaTorch:
    """One stream of torch's current GPU. `spin_wait` is torch's own affair and stays as it is."""

    def __init__(self, *, spin_wait: bool) -> None:
        torch: Any = importlib.import_module("torch")
        if not torch.cuda.is_available():
            raise MissingRuntimeError("torch finds no GPU it can use: check the driver with nvidia-smi")
        wait = "spin wait as torch decides" if spin_wait else "blocking wait as torch decides"
        self.name = f"torch {torch.__version__} ({wait})"
        self._torch = torch
        self._stream = torch.cuda.Stream()

    @property
    def stream(self) -> int:
        """Return the stream's handle."""
        return int(self._stream.cuda_stream)

    def allocate(self, size: int) -> TorchBuffer:
        """Return a buffer of `size` bytes."""
        torch = self._torch
        try:
            device = torch.empty(size, dtype=torch.uint8, device="cuda")
            return TorchBuffer(device, torch.empty(size, dtype=torch.uint8, pin_memory=True))
        except torch.cuda.OutOfMemoryError as error:
            raise RequestError("out of GPU memory: choose a smaller --batch, or free the GPU") from error

    def upload(self, buffer: TorchBuffer) -> None:
        """Queue the copy to the GPU."""
        with self._torch.cuda.stream(self._stream):
            buffer.device.copy_(buffer.pinned, non_blocking=True)

    def download(self, buffer: TorchBuffer) -> None:
        """Queue the copy from the GPU."""
        with self._torch.cuda.stream(self._stream):
            buffer.pinned.copy_(buffer.device, non_blocking=True)

    def event(self) -> Any:
        """Return a new event."""
        return self._torch.cuda.Event(enable_timing=True)

    def record(self, event: Any) -> None:
        """Queue the recording of `event`."""
        event.record(self._stream)

    def milliseconds(self, start: Any, end: Any) -> float:
        """Return the time between two events."""
        return float(start.elapsed_time(end))

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._stream.synchronize()

    def capture(self, enqueue: Callable[[], bool]) -> Callable[[], None] | None:
        """Return a launch of what `enqueue` queues, None where it refuses to be captured."""
        graph = self._torch.cuda.CUDAGraph()
        queued = False
        try:
            with self._torch.cuda.graph(graph, stream=self._stream):
                queued = enqueue()
        except RuntimeError:
            return None
        if not queued:
            return None

        def replay() -> None:
            with self._torch.cuda.stream(self._stream):
                graph.replay()

        return replay

    def bus_id(self) -> str:
        """Return "": torch does not tell."""
        return ""
