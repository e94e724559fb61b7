"""Trained networks of any maker as float ONNX files: prepared, read, calibrated, and written with integers."""
