"""TensorRT's real builder for the tests of this folder, or the reason why this machine cannot have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tensorrt_cpu.environment import REQUIRED_VARIABLE, TensorRTOnCpu, UnavailableError, prepare


@pytest.fixture(scope="session")
def tensorrt_on_cpu() -> TensorRTOnCpu:
    try:
        return prepare()
    except UnavailableError as error:
        if os.environ.get(REQUIRED_VARIABLE):
            pytest.fail(f"{REQUIRED_VARIABLE} is set, and {error}")
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _tensorrt_in_children(tensorrt_on_cpu: TensorRTOnCpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes inherit it; this process must not import tensorrt, since its libraries are looked up at start."""
    for name, value in tensorrt_on_cpu.variables().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def older_bindings(tensorrt_on_cpu: TensorRTOnCpu) -> Path:
    """The folder with the Python bindings of TensorRT 10.16, for looking at and not for building."""
    return tensorrt_on_cpu.older
