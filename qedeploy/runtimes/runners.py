"""Which runner measures a file, by its suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from qedeploy.errors import UserError
from qedeploy.runtimes.runner import Runner, RunnerOptions


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner for the file's suffix, not yet entered; raises UserError for a file that none measures."""
    suffix = path.suffix.lower()
    if suffix in _RUNNERS:
        return _RUNNERS[suffix](path, options)
    expected = f"expected one of: {', '.join(_RUNNERS)}"
    raise UserError(f"{path}: cannot be measured: {expected}, found {suffix or 'no suffix'}")


def _onnxruntime(path: Path, options: RunnerOptions) -> Runner:
    from qedeploy.runtimes.onnxruntime.runner import OnnxRuntimeRunner

    return OnnxRuntimeRunner(path, options)


def _tensorrt(path: Path, options: RunnerOptions) -> Runner:
    from qedeploy.runtimes.tensorrt.runner import TensorRTRunner

    return TensorRTRunner(path, options)


PLANS = (".plan", ".engine", ".trt")
"""Suffixes of TensorRT plans."""

_RUNNERS: Mapping[str, Callable[[Path, RunnerOptions], Runner]] = {
    ".onnx": _onnxruntime,
    **dict.fromkeys(PLANS, _tensorrt),
}
"""What measures a file, by its suffix; each entry imports its runtime when it is called."""
