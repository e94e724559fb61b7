"""Engines: TensorRT in child processes, because its builder and its loader can crash and qedeploy must not."""
