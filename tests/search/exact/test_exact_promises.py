"""What the exact search promises beside the optimum: bounds, proofs of infeasibility, interruption, fronts, tables."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits
from qedeploy.search.costs.budgets.counted import BITOPS, FLOPS, SIZE
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.evolution import solver
from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.exact import dual, pareto
from qedeploy.search.exact.completion import complete
from qedeploy.search.exact.master import Master
from qedeploy.search.exact.pareto import front
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import UndecidedError, solve
from qedeploy.search.request import make_request
from qedeploy.search.score.kinds.qe_score import qe_score
from tests.search.exact.small_spaces import measured, random_space
from tests.search.exact.test_exact_search import fitting

REFERENCE = {
    "mixed-7d0g": (1233.0544192751936, 108989965.0),
    "mixed-19d2g": (1298.483413510607, 299910465.75),
}


@pytest.mark.parametrize("recipe", REFERENCE)
def test_reference_optima_and_evolution_below_them(recipe: str) -> None:
    from dataclasses import replace

    request = make_request("any-bits", recipe)
    fixed = {**request.space.pairs, LayerCategory.HEAD: (Bits(weight=5, activation=5),)}
    problem = Problem.of(replace(request.space, pairs=fixed), request.budgets)
    solution = solve(problem)
    score, flops = REFERENCE[recipe]
    assert solution.certificate.score == pytest.approx(score, abs=1e-9)
    assert structure_costs(solution.found[0].structure).flops == flops
    free = solve(Problem.of(request.space, request.budgets)).certificate
    assert free.status == "optimal"
    assert free.score >= score
    settings = EvolutionSettings(evaluations=20_000)
    evolved = solver.solve(request.space, request.budgets, settings, start=request.recipe.start)
    assert qe_score(evolved.structure, request.space.score) <= free.upper_bound <= free.relaxed_bound


@pytest.mark.parametrize(
    "profile", ["cpu-int8", "t4-int4", "stm32f746", "stm32f746-cmix", "stm32h743-cmix", "any-bits"]
)
def test_every_kind_of_profile_is_solved_to_the_end(profile: str) -> None:
    request = make_request(profile)
    solution = solve(Problem.of(request.space, request.budgets))
    assert solution.certificate.status == "optimal"
    assert solution.certificate.gap <= 1e-9


def test_infeasible_budgets_are_refused_with_their_proof() -> None:
    space = make_request("any-bits", "mixed-7d0g").space
    with pytest.raises(RequestError, match=r"flops=1M cannot be met: the smallest structure of the space has"):
        solve(Problem.of(space, {FLOPS: 1e6}))
    with pytest.raises(RequestError, match="peak-memory="):
        solve(Problem.of(space, {PEAK_MEMORY: 2e4, FLOPS: 109e6}))


def test_budgets_that_only_fail_together_are_refused() -> None:
    """A pair of limits that each fits some structure, and no structure both."""
    refused = 0
    for seed in range(3000, 3040):
        space = random_space(seed)
        every = measured(space)
        kinds = (BITOPS, SIZE)
        limits = {kind: min(item.costs[kind] for item in every) for kind in kinds}
        fits = fitting(every, limits)
        if fits:
            continue
        with pytest.raises(RequestError, match="cannot be met together"):
            solve(Problem.of(space, limits))
        refused += 1
    assert refused >= 3


def test_interruption_returns_the_best_with_its_gap() -> None:
    request = make_request("any-bits", "mixed-19d2g")

    def interrupt(score: float, bound: float, labels: int) -> None:
        if labels:
            raise KeyboardInterrupt

    solution = solve(Problem.of(request.space, request.budgets), progress=interrupt)
    whole = solve(Problem.of(request.space, request.budgets)).certificate
    assert solution.certificate.status == "interrupted"
    assert solution.certificate.score <= whole.score <= solution.certificate.upper_bound
    assert Problem.of(request.space, request.budgets).satisfied(solution.found[0].structure)


class Interruption:
    """Calls a function and presses Ctrl-C in place of one of the calls."""

    def __init__(self, function, at: int) -> None:
        self.function, self.left = function, at

    def __call__(self, *arguments, **named):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.function(*arguments, **named)


@pytest.mark.parametrize("at", [2, 4, 8, 16])
def test_an_interruption_before_the_bound_proves_one(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_request("any-bits", "mixed-19d2g")
    problem = Problem.of(request.space, request.budgets)
    whole = solve(problem).certificate
    monkeypatch.setattr(f"{dual.__name__}.complete", Interruption(complete, at))
    solution = solve(problem)
    assert solution.certificate.status == "interrupted"
    assert solution.certificate.labels < whole.labels
    assert solution.certificate.score <= whole.score <= solution.certificate.upper_bound < 1e9
    assert problem.satisfied(solution.found[0].structure)


def test_an_interruption_before_anything_was_looked_at_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_request("any-bits", "mixed-19d2g")
    monkeypatch.setattr(dual.Dual, "descend", Interruption(dual.Dual.descend, 1))
    with pytest.raises(KeyboardInterrupt):
        solve(Problem.of(request.space, request.budgets))


def test_an_interrupted_front_has_the_points_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    request = make_request("cpu-int8")
    whole = front(request.space, request.budgets, BITOPS, points=6)
    assert not whole.interrupted
    monkeypatch.setattr(f"{pareto.__name__}.solve", Interruption(solve, 5))
    some = front(request.space, request.budgets, BITOPS, points=6)
    assert some.interrupted
    assert not some.whole
    assert 2 <= len(some.points) < 6
    assert set(some.points) < set(whole.points)


def test_a_front_tells_what_is_not_known_from_what_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    space = random_space(4001, most=60)
    whole = front(space, {}, BITOPS, points=200)
    assert whole.whole
    assert len(whole.points) > 2

    def undecided(problem: Problem):
        if BITOPS in problem.budgets and problem.budgets[BITOPS] > least:
            raise UndecidedError("nothing found, nothing excluded")
        return solve(problem)

    least = BITOPS.least(space)
    monkeypatch.setattr(f"{pareto.__name__}.solve", undecided)
    found = front(space, {}, BITOPS, points=200)
    assert not found.whole
    assert len(found.points) == 2


def test_spent_effort_leaves_an_honest_gap() -> None:
    request = make_request("any-bits", "mixed-19d2g")
    solution = solve(Problem.of(request.space, request.budgets), effort=2000)
    whole = solve(Problem.of(request.space, request.budgets)).certificate
    assert solution.certificate.status == "feasible"
    assert solution.certificate.score <= whole.score <= solution.certificate.upper_bound


@pytest.mark.parametrize("seed", range(4000, 4007))
def test_whole_fronts_equal_brute_force(seed: int) -> None:
    space = random_space(seed, most=60)
    best: list[tuple[float, float]] = []
    for item in sorted(measured(space), key=lambda item: (item.costs[BITOPS], -item.score)):
        if not best or item.score > best[-1][1] + 1e-9:
            best.append((item.costs[BITOPS], item.score))
    found = front(space, {}, BITOPS, points=200)
    assert found.whole
    assert [point.cost for point in found.points] == [cost for cost, _ in best]
    assert [point.score for point in found.points] == pytest.approx([score for _, score in best], abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_master_equals_scipy(seed: int) -> None:
    from scipy.optimize import linprog

    chance = np.random.default_rng(seed)
    limits, count = int(chance.integers(1, 5)), int(chance.integers(3, 30))
    scores, shares = chance.normal(100, 30, count), chance.uniform(0, 3, (count, limits))
    shares[0] = 0.5
    master = Master(limits)
    for score, share in zip(scores, shares, strict=True):
        master.add(float(score), share)
    best = linprog(-scores, A_ub=shares.T, b_ub=np.ones(limits), A_eq=np.ones((1, count)), b_eq=[1.0])
    assert master.value == pytest.approx(-best.fun, rel=1e-9)
    assert master.multipliers == pytest.approx(-best.ineqlin.marginals, abs=1e-6)


def test_a_front_is_the_same_whoever_finds_its_points() -> None:
    request = make_request("cpu-int8")
    alone = front(request.space, request.budgets, BITOPS, points=5)
    helped = front(request.space, request.budgets, BITOPS, points=5, workers=2)
    assert alone == helped
    assert len(alone.points) == 5
