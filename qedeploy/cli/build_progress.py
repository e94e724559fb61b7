"""A build on a terminal: a bar for each phase that is open, within the one that it is part of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress


class BuildProgress:
    """Shows a build in Rich progress bars: pass `show` as the build's `on_event`, `label` as what says its texts."""

    def __init__(self, progress: Progress, label: str = "") -> None:
        self._progress = progress
        self._prefix = f"{label}: " if label else ""
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
                self._progress.console.print(f"{self._prefix}{text}", style="dim", markup=False, highlight=False)
