# ruff: noqa: N801, N802, N815, N816 (the names are those of cuda-python)
"""Stands in for cuda.bindings.runtime: the calls that are made, with its way of returning (status, *values).

Time passes as on a GPU that takes what the pretended TensorRT says; PRETEND_NO_MEMORY makes the first allocation fail,
and PRETEND_NO_CAPTURE the capture of a graph.
"""

from __future__ import annotations

import ctypes
import enum
import os
import time


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


OK = cudaError_t.cudaSuccess
STREAM = 77
held: list[object] = []
state: dict[str, object] = {"capturing": False}


def cudaSetDeviceFlags(flags):
    assert flags in {1, 4}
    return (OK,)


def cudaStreamCreateWithFlags(flags):
    assert flags == 1
    return OK, STREAM


def cudaEventCreateWithFlags(flags):
    assert flags in {0, 1}
    return OK, [0.0]


def _allocate(size):
    if os.environ.get("PRETEND_NO_MEMORY"):
        return cudaError_t.cudaErrorMemoryAllocation, None
    held.append(ctypes.create_string_buffer(size))
    return OK, ctypes.addressof(held[-1])


cudaMalloc = _allocate
cudaMallocHost = _allocate


def cudaMemcpyAsync(target, source, size, kind, stream):
    assert stream == STREAM
    assert isinstance(kind, cudaMemcpyKind)
    ctypes.memmove(target, source, size)
    return (OK,)


def cudaEventRecord(event, stream):
    assert stream == STREAM
    event[0] = time.perf_counter()
    return (OK,)


def cudaEventElapsedTime(start, end):
    return OK, (end[0] - start[0]) * 1e3


def cudaStreamSynchronize(stream):
    assert stream == STREAM
    return (OK,)


def cudaStreamBeginCapture(stream, mode):
    assert isinstance(mode, cudaStreamCaptureMode)
    state["capturing"] = True
    return (OK,)


def cudaStreamEndCapture(stream):
    state["capturing"] = False
    if os.environ.get("PRETEND_NO_CAPTURE"):
        return cudaError_t.cudaErrorStreamCaptureUnsupported, None
    return OK, "graph"


def cudaGraphInstantiate(graph, flags):
    assert (graph, flags) == ("graph", 0)
    return OK, "executable"


def cudaGraphLaunch(executable, stream):
    assert (executable, stream) == ("executable", STREAM)
    state["compute"]()
    return (OK,)


def cudaGetLastError():
    return (OK,)


def cudaGetErrorString(status):
    return OK, status.name.encode()


def cudaDeviceGetPCIBusId(length, device):
    return OK, b"00000000:00:1E.0\0".ljust(length, b"\0")
