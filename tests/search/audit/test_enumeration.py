"""The second route against looking at every structure, and against changed claims."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.errors import RequestError
from qedeploy.search.audit.decisions import Decisions
from qedeploy.search.audit.enumeration import Enumeration, relax
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.solver import solve
from qedeploy.search.score.kinds.qe_score import qe_score
from tests.search.exact.small_spaces import measured, random_space
from tests.search.exact.test_exact_search import fitting, requests


@pytest.mark.parametrize("seed", range(2000, 2025))
def test_bound_is_confirmed_where_it_is_true_and_refuted_where_not(seed: int) -> None:
    space = random_space(seed)
    every = measured(space)
    for limits in requests(every, seed)[:4]:
        problem = Problem.of(space, limits)
        decisions = Decisions(problem)
        best = max((item.score for item in fitting(every, limits)), default=None)
        if best is None:
            continue
        certificate = solve(problem).certificate
        names = [cost.name for cost in problem.costs]
        prices = [np.array([row[name] for name in names]) for row in certificate.prices]
        relaxed = relax(decisions, prices)
        if problem.peak_memory is None:
            assert relaxed[0].bound == pytest.approx(certificate.relaxed_bound, abs=1e-9)
        assert relaxed[0].bound >= certificate.relaxed_bound - 1e-9
        assert all(best <= relaxation.bound + 1e-9 for relaxation in relaxed)
        assert Enumeration(decisions, relaxed, certificate.upper_bound).exceeding() is None
        better = Enumeration(decisions, relaxed, best - 1e-3).exceeding()
        assert better is not None
        assert qe_score(better, space.score) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(2000, 2010))
def test_any_prices_bound_every_structure(seed: int) -> None:
    space = random_space(seed)
    every = measured(space)
    chance = np.random.default_rng(seed)
    limits = requests(every, seed)[2]
    problem = Problem.of(space, limits)
    typical = [max(abs(item.score) for item in every) / cost.limit for cost in problem.costs]
    prices = [np.array(typical) * chance.uniform(0, 1, len(typical)) for _ in range(3)]
    try:
        best = max(item.score for item in fitting(every, limits))
    except ValueError:
        with pytest.raises(RequestError):
            solve(problem)
        return
    assert all(best <= relaxation.bound + 1e-9 for relaxation in relax(Decisions(problem), prices))
