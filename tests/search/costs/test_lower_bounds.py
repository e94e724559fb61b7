"""The least cost of a space, against every member of small spaces."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings

from qedeploy.errors import RequestError
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.search.costs.budgets.counted import FLOPS, LAYERS, SIZE
from qedeploy.search.costs.feasibility import require_feasible
from qedeploy.search.costs.registry import all_budgets, known_budgets
from qedeploy.search.evolution.population import Coding
from qedeploy.search.space.space import BitsPer
from tests.search.made_up_latency import MadeUpLatency
from tests.search.spaces import W4A4, W4A16, W8A4, W8A8, make_space, spaces


def every_member(coding):
    counts = coding.limits().tolist()
    genes = np.array(list(product(*(range(count) for count in counts))), np.int16).T
    view = coding.views(genes)
    channels = coding.channels[view.channels]
    ordered = (np.diff(channels, axis=0) >= 0).all(axis=0) & (channels[0] >= coding.stems[view.stem])
    return np.ascontiguousarray(genes[:, ordered])


def check_against_every_member(space):
    coding = Coding(space)
    kinds = known_budgets(space)
    measures = coding.measure(every_member(coding), kinds)
    for kind in kinds:
        assert kind.least(space) == pytest.approx(measures.costs[kind].min(), rel=1e-12), kind


@settings(max_examples=60, deadline=None)
@given(space=spaces())
def test_minimum_is_that_of_every_member(space):
    assume(np.prod(Coding(space).limits(), dtype=float) <= 60_000)
    check_against_every_member(space)


@pytest.mark.parametrize("bits_per", BitsPer)
@pytest.mark.parametrize("resolution", [32, 97])
def test_minimum_with_bits_that_do_not_compare(bits_per, resolution):
    # W8A8 and W4A16 each win one cost, and the depthwise layer has a narrow pair that only the wide block may use.
    blocks = 1 if bits_per is BitsPer.LAYER else 2
    space = make_space(
        pointwise=(W4A16, W8A8), depthwise=(W8A4, W8A8), bits_per=bits_per, strides=(2, 1), channels=(8, 16, 40),
        stem_channels=(8, 16), kernels=(3,), ratios=(1.5,), depths=tuple(range(1, blocks + 1)), resolution=resolution,
        latency=MadeUpLatency(resolution),
    )  # fmt: skip
    check_against_every_member(space)


@pytest.mark.parametrize("kind", all_budgets())
def test_minimum_can_be_met_and_a_little_less_cannot(kind):
    space = make_space(
        pointwise=(W4A4, W8A8), depthwise=(W4A4, W8A8), latency=MadeUpLatency(3), memory_plan=memory_plan_of("litert")
    )
    least = kind.least(space)
    require_feasible(space, {kind: least})
    with pytest.raises(RequestError, match=f"{kind}=.* cannot be met"):
        require_feasible(space, {kind: least * 0.999})


def test_every_limit_that_cannot_be_met_is_named():
    space = make_space()
    with pytest.raises(RequestError, match=r"size=.*flops=.*|flops=.*size=.*") as error:
        require_feasible(space, {FLOPS: 1.0, SIZE: 1.0, LAYERS: 47})
    assert "layers" not in str(error.value)
    assert "\n" not in str(error.value)
