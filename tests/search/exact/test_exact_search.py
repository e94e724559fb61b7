"""The exact search against looking at every structure."""

from __future__ import annotations

import random

import pytest

from qedeploy.errors import RequestError
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.registry import all_budgets
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import shape_of, solve
from qedeploy.search.space.space import SearchSpace
from tests.search.exact.small_spaces import Measured, measured, random_space

SPACES = 50
REQUESTS = 7


def requests(every: list[Measured], seed: int) -> list[dict[Budget, float]]:
    """Budgets of one to four kinds: what some structure costs exactly, a little more, or less than anything."""
    chance = random.Random(seed)
    found: list[dict[Budget, float]] = [{}]
    for _ in range(REQUESTS - 1):
        kinds = chance.sample(
            [kind for kind in all_budgets() if kind in every[0].costs], chance.choice((1, 1, 1, 2, 2, 3, 4))
        )
        example = chance.choice(every)
        loose = chance.choice((1.0, 1.0, 1.02, 0.97))
        shared = chance.random() < 0.7
        limits = {}
        for kind in kinds:
            chosen = example if shared else chance.choice(every)
            limits[kind] = chosen.costs[kind] * loose
        found.append(limits)
    return found


def fitting(every: list[Measured], limits: dict[Budget, float]) -> list[Measured]:
    return [item for item in every if all(item.costs[kind] <= limit for kind, limit in limits.items())]


def assert_equals_brute_force(space: SearchSpace, every: list[Measured], limits: dict[Budget, float]) -> None:
    """The exact search finds the best of `every` that fits, or refuses where none does."""
    fits = fitting(every, limits)
    if not fits:
        with pytest.raises(RequestError):
            solve(Problem.of(space, limits))
        return
    best = max(item.score for item in fits)
    solution = solve(Problem.of(space, limits))
    assert solution.certificate.status == "optimal"
    assert abs(solution.certificate.score - best) <= 1e-9, limits
    assert best <= solution.certificate.upper_bound <= best + 2e-9
    assert best <= solution.certificate.relaxed_bound + 1e-9
    assert any(item.structure == solution.found[0].structure for item in fits)


@pytest.mark.parametrize("seed", range(SPACES))
def test_equals_brute_force(seed: int) -> None:
    space = random_space(seed)
    every = measured(space)
    for limits in requests(every, seed):
        assert_equals_brute_force(space, every, limits)


@pytest.mark.parametrize("seed", range(20))
def test_top_shapes_equal_brute_force(seed: int) -> None:
    space = random_space(1000 + seed)
    every = measured(space)
    for limits in requests(every, seed)[:3]:
        best = best_of_shapes(space, fitting(every, limits))
        if not best:
            continue
        count = random.Random(seed).randint(2, 6)
        solution = solve(Problem.of(space, limits), count=count)
        scores = [found.score for found in solution.found]
        assert scores == pytest.approx(best[:count], abs=1e-9)
        assert len({shape_of(found.structure) for found in solution.found}) == len(scores)


def best_of_shapes(space: SearchSpace, fits: list[Measured]) -> list[float]:
    best: dict[object, float] = {}
    for item in fits:
        shape = shape_of(item.structure)
        best[shape] = max(best.get(shape, item.score), item.score)
    return sorted(best.values(), reverse=True)
