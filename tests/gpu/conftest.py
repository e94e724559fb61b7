"""Tests that need a GPU with TensorRT; elsewhere they are skipped with what is missing."""

from __future__ import annotations

import pytest

from qedeploy.errors import UserError
from qedeploy.runtimes.nvidia.machine import TensorrtMachine, probe


@pytest.fixture(scope="session")
def gpu_machine() -> TensorrtMachine:
    machine = probe()
    try:
        machine.require()
    except UserError as error:
        pytest.skip(str(error))
    return machine
