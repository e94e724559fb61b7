"""Build progress: TensorRT reports phases within phases; a terminal gets a bar for each that is open."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qedeploy.runtimes.tensorrt.child import Emit

if TYPE_CHECKING:
    from rich.progress import Progress

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


class BuildProgress:
    """Shows a build in Rich progress bars: pass `show` as the build's `on_event`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}
        self._depth: dict[str, int] = {}

    def show(self, event: Mapping[str, Any]) -> None:
        """Show one event of a build: a phase that starts, advances or ends, or a warning above the bars."""
        match event:
            case {"event": "phase", "name": str(name), "steps": int(steps)}:
                depth = self._depth[name] = self._depth.get(event.get("parent") or "", -1) + 1
                if name in self._tasks:
                    self._progress.remove_task(self._tasks[name])
                self._tasks[name] = self._progress.add_task("  " * depth + name, total=max(steps, 1))
            case {"event": "step", "name": str(name), "step": int(step)} if name in self._tasks:
                self._progress.update(self._tasks[name], completed=step)
            case {"event": "finish", "name": str(name)} if name in self._tasks:
                self._progress.remove_task(self._tasks.pop(name))
            case {"event": "warning" | "notice", "text": str(text)}:
                self._progress.console.print(f"TensorRT: {text}", style="dim", markup=False, highlight=False)
