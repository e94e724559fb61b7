"""Opening a model in ONNX Runtime the way that its integers are right on every processor."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""Without VNNI, x86 kernels add pairs of uint8 x int8 products in 16 bits, which saturate; this keeps to exact ones.

ONNX Runtime ignores it where the processor has VNNI. Whoever runs an exported model on an older processor must set it.
"""


def open_session(model: bytes | Path, *, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime CPU session for `model`; `threads` None takes one per core."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(*EXACT_PRODUCTS)
    # Threads that wait by spinning take the cores from PyTorch, which works in turns with the runtime here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
