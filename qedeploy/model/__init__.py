"""PyTorch: quantizers, blocks, and checkpoints of a Structure."""
