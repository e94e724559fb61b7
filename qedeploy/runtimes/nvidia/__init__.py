"""What TensorRT and TensorRT for RTX share: dialect, builds, plans, CUDA, reading engines. It is no runtime itself."""
