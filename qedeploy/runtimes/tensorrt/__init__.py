"""NVIDIA TensorRT: the timed and the building process are children of their own."""
