"""Which parts of a space are measured, and in which order."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from qedeploy.campaign import sampling
from qedeploy.export.benchmark_cases import neutral_bits
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Part
from qedeploy.network.costs import layer_flops
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.search.costs.budgets.counted import BITOPS, FLOPS
from qedeploy.search.request import make_request
from qedeploy.search.space.membership import outside

REQUESTS = {name: make_request(*name) for name in [("cpu-int8", None), ("cpu-int8", "mixed-7d0g"), ("t4-int4", None)]}


def blocks_of(request, count, seed=0):
    around = neutral_bits(request.profile)
    return list(islice(sampling.blocks(request.space, request.budgets, request.profile, around, seed=seed), count))


def shapes(case):
    named = shapes_of(structure_graph(case.structure), 1)
    return [shape for name, shape in named.items() if name.rpartition(".")[0] in case.blocks or name in case.blocks]


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=map(str, REQUESTS))
def test_a_short_run_meets_every_kernel_stride_and_size(request_):
    found = {(s.part, s.kernel, s.stride) for case in blocks_of(request_, 60) for s in shapes(case)}
    wanted = {(Part.DEPTHWISE, kernel, stride) for kernel in (3, 5) for stride in (1, 2)}
    assert found == wanted | {(Part.POINTWISE, 1, 1), (Part.SHORTCUT, 1, 1), (Part.SHORTCUT, 1, 2)}
    sizes = {s.size for case in blocks_of(request_, 60) for s in shapes(case) if s.part is Part.POINTWISE}
    assert sizes == {112, 56, 28, 14, 7}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=map(str, REQUESTS))
def test_blocks_are_those_of_networks_that_keep_the_budgets(request_):
    limit = request_.budgets[BITOPS] / 64 if BITOPS in request_.budgets else request_.budgets[FLOPS]
    space = request_.space
    for case in blocks_of(request_, 80):
        (stage,) = case.structure.stages
        (block,) = stage.blocks
        assert stage.out_channels in space.channels
        assert stage.kernel in space.kernels
        assert block in space.block_choices
        layers = [layer for layer in expand_layers(case.structure) if layer.block in case.blocks]
        assert sum(map(layer_flops, layers)) <= limit / 3


def test_the_first_blocks_lie_farther_apart_than_the_last():
    request = REQUESTS["cpu-int8", None]

    def places(cases):
        stages = [(s.structure.stem.out_channels, s.structure.stages[0], s.structure.resolution) for s in cases]
        return np.log2([(into, t.out_channels, t.bottleneck_channels, size) for into, t, size in stages])

    def nearest(points):
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        return (distances + 1e9 * np.eye(len(points))).min(axis=1).mean()

    found = blocks_of(request, 600)
    assert nearest(places(found[:40])) > 1.5 * nearest(places(found[-40:]))


def test_the_same_seed_gives_the_same_blocks_and_another_seed_others():
    request = REQUESTS["cpu-int8", None]
    assert blocks_of(request, 20) == blocks_of(request, 20) != blocks_of(request, 20, seed=1)
    assert len(set(blocks_of(request, 300))) == 300


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=map(str, REQUESTS))
def test_networks_lie_in_the_space_and_keep_its_budget_of_operations(request_):
    found = list(islice(sampling.networks(request_.space, request_.budgets, request_.profile), 30))
    assert len(set(found)) == 30
    for structure in found:
        assert outside(structure, request_.space) is None
    macs = [sum(layer.macs for layer in expand_layers(structure)) for structure in found]
    assert max(macs) > 3 * min(macs)


def test_stems_and_tails_cover_their_range_and_every_lowering():
    request = REQUESTS["t4-int4", None]
    around = neutral_bits(request.profile)
    stems = sampling.stems(request.space, around)
    assert {case.structure.stem.out_channels for case in stems} == {8, 16, 24, 32}
    tails = sampling.tails(request.space, request.profile, around)
    inputs = [case.structure.stages[-1].out_channels for case in tails]
    assert (min(inputs), max(inputs)) == (8, 1280)
    assert {case.structure.head.bits for case in tails} == set(request.space.pairs[LayerCategory.HEAD])
    assert {8, 1280} == set(inputs[: 2 * len(request.space.pairs[LayerCategory.HEAD])])


def test_the_blocks_of_structures_are_found_once_each():
    request = REQUESTS["cpu-int8", None]
    structure = next(sampling.networks(request.space, request.budgets, request.profile))
    around = neutral_bits(request.profile)
    cases = sampling.blocks_of([structure, structure], around)
    assert len(cases) == len(set(cases))
    whole = {s for name, s in shapes_of(structure_graph(structure), 1).items() if name.startswith("stage")}
    assert whole == {shape for case in cases for shape in shapes(case)}
