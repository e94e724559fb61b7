"""The machine's description, against what psutil and the kernel say of this one."""

from __future__ import annotations

import dataclasses

import psutil
import pytest

from qedeploy.bench.measure.machine import describe_machine
from qedeploy.runtimes.processor import instruction_sets


def test_this_machine():
    machine = describe_machine()
    assert machine.cpu
    assert machine.memory_bytes == psutil.virtual_memory().total
    assert 1 <= machine.usable_cores <= (machine.logical_cores or 10**6)
    assert {"qedeploy", "onnxruntime"} <= {package.name for package in machine.packages}


@pytest.mark.parametrize(
    ("flags", "sets", "products"),
    [
        ("fpu sse2 avx2", ("avx2",), False),
        (
            "avx512_vnni avx512f avx2 amx_int8 avx_vnni",
            ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),
            True,
        ),
        ("fp asimd asimddp i8mm", ("dotprod", "i8mm"), True),
        ("", (), False),
    ],
)
def test_instruction_sets_for_8_bits(flags, sets, products):
    found = instruction_sets(flags.split())
    assert found == sets
    machine = dataclasses.replace(describe_machine(), instruction_sets=found)
    assert machine.int8_products is products
