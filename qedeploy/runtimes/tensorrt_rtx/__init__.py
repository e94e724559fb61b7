"""TensorRT for RTX on NVIDIA's consumer GPUs."""

from qedeploy.runtimes.tensorrt_rtx.runtime import TensorRTForRTX

RUNTIME = TensorRTForRTX()
