"""Measuring TensorRT plans: the timed process is a child, the samples and their reading are here."""
