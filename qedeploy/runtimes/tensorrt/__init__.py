"""TensorRT on NVIDIA GPUs."""

from qedeploy.runtimes.tensorrt.runtime import TensorRT

RUNTIME = TensorRT()
