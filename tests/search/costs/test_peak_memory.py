"""Peak memory over arrays against the accounting of single structures, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.search.costs.peak_memory import block_memory, head_memory, stem_memory
from tests.search.exact.small_spaces import measured, random_space


@pytest.mark.parametrize("seed", range(5000, 5010))
def test_the_largest_part_is_the_structure_s_peak(seed: int) -> None:
    space = random_space(seed, most=200)
    for item in measured(space)[:50]:
        structure = item.structure
        *layers, _ = expand_layers(structure)
        size = space.resolution / space.stem_stride
        stem, head = layers[0], layers[-1]
        found = [float(stem_memory(space, np.array(stem.out_channels), layers[1].bits.activation / 8))]
        for number in range(1, len(layers) - 1, 3):
            expand, depthwise, project = layers[number : number + 3]
            read = [layer.bits.activation / 8 for layer in layers[number : number + 4]]
            shapes = (np.array(c) for c in (expand.in_channels, depthwise.out_channels, project.out_channels))
            before, middle, out = shapes
            found.append(float(block_memory(before, middle, out, depthwise.stride, size, tuple(read))))
            size /= depthwise.stride
        found.append(float(head_memory(space, size, np.array(head.in_channels), head.bits.activation / 8)))
        assert max(found) == structure_costs(structure).peak_memory_bytes
