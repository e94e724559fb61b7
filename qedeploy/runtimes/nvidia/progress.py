"""Build progress: TensorRT reports phases within phases."""

from __future__ import annotations

import time
from typing import Any

from qedeploy.runtimes.nvidia.child import Emit

_SECONDS_BETWEEN_STEPS = 0.05


def monitor(trt: Any, emit: Emit) -> Any:
    """Return a TensorRT progress monitor that sends its phases as events (TensorRT calls it from several threads)."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._sent: dict[str, float] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            emit({"event": "phase", "name": phase_name, "parent": parent_phase, "steps": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._sent.get(phase_name, 0.0) >= _SECONDS_BETWEEN_STEPS:
                self._sent[phase_name] = now
                emit({"event": "step", "name": phase_name, "step": step + 1})
            return True

        def phase_finish(self, phase_name: str) -> None:
            emit({"event": "finish", "name": phase_name})

    return Monitor()
