"""Where tensors lie in the arena."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.runtimes.litert.arena import ArenaBuffer, buffers, plan
from qedeploy.runtimes.litert.flatbuffer import to_flatbuffer
from qedeploy.runtimes.litert.memory import measure
from qedeploy.runtimes.litert.program import Operator
from qedeploy.runtimes.litert.translation import translate
from tests.runtimes.litert.networks import lowered


def wanted(*sizes: tuple[int, int, int]) -> list[ArenaBuffer]:
    return [
        ArenaBuffer(name=str(index), size=size, first=first, last=last)
        for index, (size, first, last) in enumerate(sizes)
    ]


# From the unit tests of LiteRT for Microcontrollers' planner (greedy_memory_planner_test.cc: basics, medium).
@pytest.mark.parametrize(
    ("sizes", "offsets", "size"),
    [
        ([(10, 0, 1), (20, 2, 3)], [0, 0], 20),
        ([(10, 0, 1), (20, 1, 2), (30, 2, 3), (40, 3, 4), (50, 0, 1)], [50, 70, 40, 0, 0], 90),
    ],
)
def test_offsets_are_those_of_the_planners_own_tests(sizes, offsets, size):
    found = plan(wanted(*sizes))
    assert [item.offset for item in found.placed] == offsets
    assert found.size == size


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_no_two_that_live_together_overlap(drawn):
    found = plan(wanted(*((size, min(times), max(times)) for size, *times in drawn)))
    for item in found.placed:
        for other in found.placed:
            together = item.buffer.first <= other.buffer.last and other.buffer.first <= item.buffer.last
            if item is not other and together:
                assert item.end <= other.offset or other.end <= item.offset
    usage = np.zeros(10, int)
    for item in found.placed:
        usage[item.buffer.first : item.buffer.last + 1] += item.buffer.size
    assert found.lower_bound == usage.max()
    assert found.size >= found.lower_bound


def test_a_tensor_lives_from_its_operator_to_its_last_reader():
    program = translate(lowered())
    calls = {call.output: index for index, call in enumerate(program.calls)}
    found = {buffer.name: buffer for buffer in buffers(program)}
    shortcut = found["stem"]
    assert (shortcut.first, shortcut.last) == (calls["stem"], calls["stage1.block1.add"])
    assert (found["image"].first, found["image"].last) == (0, 0)
    assert found["logits"].last == len(program.calls) - 1
    assert all(buffer.size % 16 == 0 for buffer in found.values())


def test_memory_adds_up_to_the_file():
    program = translate(lowered())
    content = to_flatbuffer(program)
    found = measure(program, len(content))
    assert found.flash == len(content) == found.weights + found.biases + found.quantization + found.graph
    weights = sum(
        np.prod(program.tensors[call.inputs[1]].shape)
        for call in program.calls
        if call.operator in (Operator.CONVOLUTION, Operator.DEPTHWISE)
    )
    assert found.weights == weights
    assert found.graph > 0
    assert found.arena >= found.arena_lower_bound >= found.tensors_only - 10_000
    assert found.arena >= found.tensors_only
    channels = sum(layer.out_channels for layer in lowered().graph.layers) + 16  # The pooled shortcut.
    assert found.multipliers == 8 * channels
