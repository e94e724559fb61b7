"""The exact search under a latency budget: against every structure of small spaces, and against evolution."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.network.graph import structure_graph
from qedeploy.search.audit.decisions import Decisions
from qedeploy.search.audit.enumeration import Enumeration, relax
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.evolution import solver
from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.exact.pareto import front
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.search.space.space import SearchSpace
from qedeploy.units import Quantity, parse_quantity
from tests.search.costs.test_layer_times import real_space
from tests.search.exact.small_spaces import Measured, measured, random_space
from tests.search.exact.test_exact_search import assert_equals_brute_force, fitting
from tests.search.made_up_latency import MadeUpLatency
from tests.search.spaces import make_space

OTHERS = (BITOPS, EXECUTED_BITOPS, FLOPS, SIZE, PEAK_MEMORY, LAYERS)


def latency_requests(every: list[Measured], seed: int) -> list[dict[Budget, float]]:
    """A latency that some structure has exactly, or nearly, with each other budget once and some together."""
    chance = random.Random(seed)
    found: list[dict[Budget, float]] = []
    for kinds in ([], *([kind] for kind in OTHERS), chance.sample(OTHERS, 2), chance.sample(OTHERS, 3)):
        example = chance.choice(every)
        limits: dict[Budget, float] = {LATENCY: example.costs[LATENCY] * chance.choice((1.0, 1.0, 1.01, 0.99))}
        for kind in kinds:
            chosen = example if chance.random() < 0.7 else chance.choice(every)
            limits[kind] = chosen.costs[kind]
        found.append(limits)
    return found


@pytest.mark.parametrize("seed", range(6000, 6020))
def test_latency_with_any_other_budgets_equals_brute_force(seed: int) -> None:
    space = random_space(seed)
    every = measured(space)
    for limits in latency_requests(every, seed):
        assert_equals_brute_force(space, every, limits)


@pytest.mark.parametrize("seed", range(6100, 6110))
def test_the_second_route_confirms_the_bound_and_refutes_a_lower_one(seed: int) -> None:
    space = random_space(seed)
    every = measured(space)
    limits = {LATENCY: random.Random(seed).choice(every).costs[LATENCY]}
    best = max(item.score for item in fitting(every, limits))
    problem = Problem.of(space, limits)
    certificate = solve(problem).certificate
    relaxed = relax(Decisions(problem), [np.array(list(row.values())) for row in certificate.prices])
    assert relaxed[0].bound == pytest.approx(certificate.relaxed_bound, abs=1e-9)
    assert Enumeration(Decisions(problem), relaxed, certificate.upper_bound).exceeding() is None
    better = Enumeration(Decisions(problem), relaxed, best - 1e-3).exceeding()
    assert better is not None
    assert qe_score(better, space.score) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(6200, 6206))
def test_whole_fronts_against_latency_equal_brute_force(seed: int) -> None:
    space = random_space(seed, most=60)
    best: list[tuple[float, float]] = []
    for item in sorted(measured(space), key=lambda item: (item.costs[LATENCY], -item.score)):
        if not best or item.score > best[-1][1] + 1e-9:
            best.append((item.costs[LATENCY], item.score))
    found = front(space, {}, LATENCY, points=200)
    assert found.whole
    assert [point.cost for point in found.points] == [cost for cost, _ in best]
    assert [point.score for point in found.points] == pytest.approx([score for _, score in best], abs=1e-9)


def test_ties_in_latency_go_to_the_score() -> None:
    """Where all structures take equally long, the limit of that very time excludes none of them."""

    class Even(MadeUpLatency):
        def _seconds(self, *key):
            return super()._seconds(*key) * 0.0

    for seed in range(6300, 6306):
        space = replace(random_space(seed), latency=Even(0))
        every = measured(space)
        (seconds,) = {item.costs[LATENCY] for item in every}
        found = solve(Problem.of(space, {LATENCY: seconds})).certificate
        assert found.score == pytest.approx(max(item.score for item in every), abs=1e-9)
        assert found.multipliers == {"latency": 0.0}


@pytest.mark.parametrize("share", [0.999, 0.5, 1e-3])
def test_less_than_the_least_is_refused_with_what_can_be_met(share: float) -> None:
    """Below the least by a little, and below what every structure pays before its first layer."""
    space = real_space("cpu-int8")
    least = LATENCY.least(space)
    with pytest.raises(
        RequestError, match=r"^latency=.*s cannot be met: the smallest structure of the space has"
    ) as error:
        solve(Problem.of(space, {LATENCY: share * least}))
    limit = parse_quantity(str(error.value).split("has ")[1].split(";")[0], Quantity.DURATION)
    assert least <= limit <= least * 1.001
    assert solve(Problem.of(space, {LATENCY: limit})).certificate.status == "optimal"


@pytest.mark.parametrize("profile", ["cpu-int8", "t4-int4"])
def test_evolution_never_exceeds_the_bound(profile: str) -> None:
    space = real_space(profile)
    for milliseconds in (1.0, 2.5):
        budgets = {LATENCY: milliseconds / 1e3, LAYERS: 47}
        certificate = solve(Problem.of(space, budgets)).certificate
        assert certificate.status == "optimal"
        assert certificate.multipliers["latency"] > 0
        evolved = solver.solve(space, budgets, EvolutionSettings(evaluations=10_000))
        assert space.latency.seconds(structure_graph(evolved.structure)) <= budgets[LATENCY]
        assert qe_score(evolved.structure, space.score) <= certificate.upper_bound


def test_evolution_is_the_same_with_processes() -> None:
    space, settings = real_space("cpu-int8"), EvolutionSettings(evaluations=9_000)
    found = [solver.solve(space, {LATENCY: 2e-3}, settings, workers=count) for count in (1, 2)]
    assert found[0] == found[1]


def test_blocks_that_never_repeat_need_no_times_for_it() -> None:
    """A table without what no structure has serves all the same."""

    class OnlyFirst(MadeUpLatency):
        def _seconds(self, role, into, out, kernel, stride, size, bits, shortcut, block_stride):
            assert role != "depthwise" or stride == 2
            return super()._seconds(role, into, out, kernel, stride, size, bits, shortcut, block_stride)

    space: SearchSpace = make_space(
        strides=(2, 2), channels=(8, 16, 24), stem_channels=(8,), depths=(1,), resolution=32, latency=OnlyFirst(1)
    )
    every = measured(space)
    limit = sorted(item.costs[LATENCY] for item in every)[len(every) // 2]
    problem = Problem.of(space, {LATENCY: limit})
    certificate = solve(problem).certificate
    assert certificate.score == pytest.approx(max(item.score for item in fitting(every, {LATENCY: limit})), abs=1e-9)
    assert LATENCY.least(space) == min(item.costs[LATENCY] for item in every)
    relaxed = relax(Decisions(problem), [np.array(list(row.values())) for row in certificate.prices])
    assert Enumeration(Decisions(problem), relaxed, certificate.upper_bound).exceeding() is None
