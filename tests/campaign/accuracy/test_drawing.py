"""What is drawn for an accuracy study: every network in its space, at its budget, and spread over the score."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.campaign.accuracy.arms import Arm, at_fixed_widths, has_widths
from qedeploy.campaign.accuracy.drawing import LEAST_SHARE, draw
from qedeploy.errors import RequestError
from qedeploy.network.costs import structure_costs
from qedeploy.network.structure import Bits
from qedeploy.search.costs.budgets.counted import BITOPS
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import shape_of, solve
from qedeploy.search.request import make_request
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.search.space.membership import outside
from tests.campaign.accuracy.small import RECIPE, write_recipe

LIMIT = 8e6


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    return make_request("any-bits", str(write_recipe(tmp_path_factory.mktemp("space"))), {BITOPS: LIMIT})


@pytest.fixture(scope="module")
def drawn(request_):
    return {arm: draw(request_, BITOPS, arm, 6) for arm in Arm}


def _widths(structure):
    blocks = [bits for stage in structure.stages for block in stage.blocks for bits in block.layers()]
    return (*blocks, structure.head.bits)


@pytest.mark.parametrize("arm", list(Arm))
def test_networks_are_distinct_ones_of_the_space_that_use_the_budget_up(arm, drawn, request_):
    structures = [one.structure for one in drawn[arm]]
    assert len(set(structures)) == 6
    for one in drawn[arm]:
        assert outside(one.structure, request_.space) is None
        assert LEAST_SHARE * LIMIT <= structure_costs(one.structure).bitops <= LIMIT
        assert one.score == pytest.approx(qe_score(one.structure, request_.recipe.score))


@pytest.mark.parametrize("arm", list(Arm))
def test_scores_are_spread_evenly(arm, drawn):
    scores = np.array([one.score for one in drawn[arm]])
    steps = np.diff(scores)
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()


def test_an_arm_holds_what_its_name_says(drawn):
    assert {_widths(one.structure)[0] for one in drawn[Arm.WIDTHS_FIXED]} == {Bits(weight=4, activation=4)}
    assert all(len(set(_widths(one.structure)[:-1])) == 1 for one in drawn[Arm.WIDTHS_FIXED])
    assert len({shape_of(one.structure) for one in drawn[Arm.WIDTHS_FIXED]}) > 3
    assert len({shape_of(one.structure) for one in drawn[Arm.SHAPES_FIXED]}) == 1
    assert len({_widths(one.structure) for one in drawn[Arm.SHAPES_FIXED]}) == 6


def test_the_best_of_the_space_is_among_them(drawn, request_):
    fixed = at_fixed_widths(request_.space)
    best = solve(Problem.of(fixed, request_.budgets)).found[0].structure
    assert drawn[Arm.WIDTHS_FIXED][-1].structure == best
    assert drawn[Arm.FREE][-1].structure == solve(Problem.of(request_.space, request_.budgets)).found[0].structure
    assert shape_of(drawn[Arm.SHAPES_FIXED][0].structure) == shape_of(best)


def test_the_same_seed_draws_the_same_networks(drawn, request_):
    assert draw(request_, BITOPS, Arm.FREE, 6) == drawn[Arm.FREE]
    assert draw(request_, BITOPS, Arm.FREE, 6, seed=1) != drawn[Arm.FREE]


def test_one_choice_of_widths_leaves_no_arm_of_fixed_shapes(request_):
    request = make_request("cpu-int8", overrides={BITOPS: 1e9})
    assert not has_widths(request.space)
    with pytest.raises(RequestError, match=r"shapes-fixed: recipe .* one choice of bit widths on cpu-int8"):
        draw(request, BITOPS, Arm.SHAPES_FIXED, 4)
    assert has_widths(request_.space)


def test_a_space_with_too_few_networks_says_how_many_there_are(tmp_path):
    one = RECIPE.replace("{ min = 8, max = 64 }", "[8]").replace("kernels = [3, 5]", "kernels = [3]")
    one = one.replace("[1.0, 2.0, 3.0]", "[1.0]").replace("depths = [1, 2]", "depths = [1]").replace("[8, 16]", "[8]")
    (tmp_path / "one.toml").write_text(one)
    found = structure_costs(
        solve(Problem.of(at_fixed_widths(make_request("any-bits", str(tmp_path / "one.toml")).space), {BITOPS: 1e9}))
        .found[0]
        .structure
    )
    request = make_request("any-bits", str(tmp_path / "one.toml"), {BITOPS: found.bitops * 1.05})
    with pytest.raises(RequestError, match=r"widths-fixed: 1 networks .* expected 4: ask for as many"):
        draw(request, BITOPS, Arm.WIDTHS_FIXED, 4)
