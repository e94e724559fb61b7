"""A runner for a file, whatever runs it."""

from __future__ import annotations

from pathlib import Path

from qedeploy.runtimes.registry import runtime_of
from qedeploy.runtimes.runner import Runner, RunnerOptions


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner for a file, not yet entered; raises UserError for one that no runtime runs."""
    return runtime_of(path).open(path, options)
