"""Stands in for TensorRT where a plan is run: the calls that are made, as documented.

Logits are the image's mean times 1 to 10: enough to tell that values go in and come out.

A pretended plan is JSON: {"pretended plan": {layer name: milliseconds}, "inspector": {...}, "batch": [min, opt, max]}.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import time

import numpy as np
from cuda.bindings import runtime

__version__ = os.environ.get("PRETEND_VERSION", "11.4.0.106")

TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
DataType = enum.Enum("DataType", ["FLOAT"])
LayerInformationFormat = enum.Enum("LayerInformationFormat", ["ONELINE", "JSON"])
Severity = enum.Enum("Severity", ["ERROR", "WARNING"])


class Builder:
    pass


class ILogger:
    pass


class IProfiler:
    pass


def nptype(kind):
    return {DataType.FLOAT: np.float32}[kind]


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        if os.environ.get("PRETEND_CRASH"):
            os.abort()
        try:
            return Engine(json.loads(plan))
        except ValueError:
            self.logger.log(Severity.ERROR, "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.")
            return None


class Engine:
    num_io_tensors = 2
    device_memory_size_v2 = 4096

    def __init__(self, plan):
        self.times = plan["pretended plan"]
        self.inspector = plan["inspector"]
        self.batch = plan["batch"]

    def get_tensor_name(self, index):
        return ("image", "logits")[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        size = self.batch[0] if self.batch[0] == self.batch[2] else -1
        return (size, 3, 16, 16) if name == "image" else (size, 10)

    def get_tensor_profile_shape(self, name, profile):
        assert (name, profile) == ("image", 0)
        return [(size, 3, 16, 16) for size in self.batch]

    def get_tensor_dtype(self, name):
        return DataType.FLOAT

    def create_execution_context(self):
        return Context(self)

    def create_engine_inspector(self):
        return Inspector(self)


class Inspector:
    def __init__(self, engine):
        self.engine = engine
        self.execution_context = None

    def get_engine_information(self, form):
        assert form is LayerInformationFormat.JSON
        assert self.execution_context is not None
        return json.dumps(self.engine.inspector)


class Context:
    def __init__(self, engine):
        self.engine = engine
        self.size = engine.batch[0] if engine.batch[0] == engine.batch[2] else None
        self.addresses = {}
        self.profiler = None
        self.enqueue_emits_profile = True

    def set_input_shape(self, name, shape):
        self.size = shape[0]
        return True

    def get_tensor_shape(self, name):
        return (self.size, 3, 16, 16) if name == "image" else (self.size, 10)

    def set_tensor_address(self, name, address):
        assert isinstance(address, int)
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == runtime.STREAM
        assert set(self.addresses) == {"image", "logits"}
        runtime.state["compute"] = self.compute
        if not runtime.state["capturing"]:
            self.compute()
        return True

    def view(self, name):
        shape = self.get_tensor_shape(name)
        return np.ctypeslib.as_array((ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])).reshape(
            shape
        )

    def compute(self):
        end = time.perf_counter() + sum(self.engine.times.values()) * 1e-3
        image, logits = (self.view(name) for name in ("image", "logits"))
        logits[:] = image.mean(axis=(1, 2, 3), keepdims=True)[:, 0, 0] * np.arange(1, 11)
        while time.perf_counter() < end:
            pass

    def report_to_profiler(self):
        assert self.enqueue_emits_profile is False
        for name, milliseconds in self.engine.times.items():
            self.profiler.report_layer_time(name, milliseconds)
        return True
