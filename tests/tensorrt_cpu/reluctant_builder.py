"""A builder without INT8 kernels for depthwise layers, as a Turing GPU may be; without those layers, the real one.

It speaks TensorRT's own words for that, which no builder at hand can be made to say.
"""

from __future__ import annotations

import onnx

from qedeploy.runtimes.nvidia.builder import BuildRequest, build
from qedeploy.runtimes.nvidia.child import serve


def answer(request, emit):
    parsed = BuildRequest.from_document(request)
    for node in onnx.load(parsed.onnx).graph.node:
        quantized = any(name.endswith("weight.dequantize") for name in node.input)
        if node.op_type == "Conv" and node.name.endswith("depthwise") and quantized:
            name = f"{node.name}.weight.dequantize + {node.name} + {node.name}.relu"
            return {"no_kernel": name, "reason": f"Could not find any implementation for node {name}."}
    return build(parsed, emit)


if __name__ == "__main__":
    serve(answer)
