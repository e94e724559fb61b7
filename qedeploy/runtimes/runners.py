"""A runner for a file, whatever runs it."""

from __future__ import annotations

from pathlib import Path

from qedeploy.runtimes.registry import find_runtime, runtime_of
from qedeploy.runtimes.runner import Runner, RunnerOptions


def open_runner(path: Path, options: RunnerOptions, runtime: str | None = None) -> Runner:
    """Return the runner for a file, not yet entered: by the runtime of that name, or the one that the file is for.

    Raises UserError for a file that no runtime runs.
    """
    found = runtime_of(path) if runtime is None else find_runtime(runtime)
    return found.open(path, options)
