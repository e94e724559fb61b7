"""Opening a model in ONNX Runtime: as a user's own session does, or with integers that are right on every processor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

from qedeploy.files import read_bytes
from qedeploy.runtimes.base import Evaluator
from qedeploy.runtimes.processor import this_processor
from qedeploy.runtimes.saturation import saturates

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""Keeps to exact kernels where the fast ones saturate (saturation.py); elsewhere it would only double the time."""

_SILENT = 4


def open_session(
    model: bytes | Path, *, threads: int | None = None, optimize: bool = True, exact: bool = True
) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime CPU session for `model`; `threads` None takes one per core.

    Its integer products are exact on every processor, or those of a session without any such option.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if exact and saturates(this_processor()):
        options.add_session_config_entry(*EXACT_PRODUCTS)
    # Threads that wait by spinning take the cores from PyTorch, which works in turns with the runtime here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else model_source(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def model_source(path: Path) -> str | bytes:
    """Return what ONNX Runtime opens a file by: its path, or its bytes where the path is no UTF-8, which it refuses."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return read_bytes(path)
    return str(path)


def evaluator(model: bytes, *, optimize: bool, exact: bool) -> Evaluator:
    """Return what runs `model` on inputs by name in the session of `open_session`."""
    session = open_session(model, optimize=optimize, exact=exact)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def simplify(model: bytes) -> bytes:
    """Return `model` as the basic level of graph optimisations leaves it: constants folded, what is redundant gone."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = _SILENT
    with tempfile.TemporaryDirectory(prefix="qedeploy-simplify-") as folder:
        target = Path(folder) / "simple.onnx"
        options.optimized_model_filepath = str(target)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return target.read_bytes()
