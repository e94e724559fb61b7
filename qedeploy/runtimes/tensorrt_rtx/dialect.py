"""TensorRT for RTX: TensorRT's dialect, which its parser and builder take as it is."""

from __future__ import annotations

from qedeploy.runtimes.nvidia.dialect import TensorRTDialect


class TensorRTForRTXDialect(TensorRTDialect):
    """The same graph for the other product.

    Tried with 1.7.1: INT8 Q/DQ with zero point 0, float16 scales, a float Clip before Q, and 4-bit weights in blocks
    build for compute capability 8.6, 8.9 and 12.0, the 4-bit ones as 4-bit weights.
    """

    name: str = "tensorrt_rtx"
    runtime: str = "tensorrt_rtx"
