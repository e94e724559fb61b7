"""ONNX Runtime on the CPU."""

from qedeploy.runtimes.onnxruntime.runtime import OnnxRuntime

RUNTIME = OnnxRuntime()
