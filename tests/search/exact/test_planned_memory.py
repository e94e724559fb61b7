"""Limits of planned memory against looking at every structure, and against the files themselves."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from qedeploy.api import verify
from qedeploy.errors import RequestError
from qedeploy.network.graph import structure_graph
from qedeploy.search.audit.decisions import Decisions
from qedeploy.search.audit.enumeration import Enumeration, relax
from qedeploy.search.costs.budgets.counted import BITOPS
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import FLASH, MULTIPLIERS, SRAM
from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.evolution.population import Coding
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.search import search_exactly
from qedeploy.search.exact.solver import solve
from qedeploy.search.request import make_request
from qedeploy.search.run import SearchFolder, run_evolution
from qedeploy.search.tightening import search_within_plan
from tests.search.exact.small_spaces import measured, random_space
from tests.search.exact.test_exact_search import assert_equals_brute_force, fitting


@pytest.mark.parametrize("seed", range(7000, 7006))
def test_limits_of_what_is_alive_equal_brute_force(seed):
    space = random_space(seed, most=300, planned=True)
    every, chance = measured(space), random.Random(seed)
    for kinds in ([SRAM], [SRAM, BITOPS], [SRAM, MULTIPLIERS], [SRAM, PEAK_MEMORY]):
        example = chance.choice(every)
        limits = {kind: example.costs[kind] for kind in kinds}
        assert_equals_brute_force(space, every, limits)
        problem = Problem.of(space, limits)
        best, certificate = max(item.score for item in fitting(every, limits)), solve(problem).certificate
        names = [cost.name for cost in problem.costs]
        relaxed = relax(Decisions(problem), [np.array([row[name] for name in names]) for row in certificate.prices])
        assert Enumeration(Decisions(problem), relaxed, certificate.upper_bound).exceeding() is None
        assert Enumeration(Decisions(problem), relaxed, best - 1e-3).exceeding() is not None


@pytest.mark.parametrize("seed", [7101, 7102, 7103, 7106, 7110])
def test_what_is_said_of_the_best_whose_whole_plan_fits_is_true(seed):
    space = random_space(seed, most=300, planned=True)
    request, chance = make_request("stm32f746"), random.Random(seed)
    every = [(item.score, space.memory_plan.sram(structure_graph(item.structure)).total) for item in measured(space)]
    for _ in range(2):
        limit = float(chance.choice(every)[1] + chance.choice((0, 0, 7)))
        asked = replace(request, space=space, budgets={SRAM: limit})
        held = search_within_plan(asked, search_exactly)
        best = max(score for score, total in every if total <= limit)
        score = held.solution.certificate.score
        upper = score if held.request is asked else held.result.evidence["sram"]["upper_bound"]
        # A plan with a gap is left out together with others as large, which the bound then covers.
        assert score - 1e-9 <= best <= upper + 1e-9
        assert space.memory_plan.sram(structure_graph(held.result.structure)).total <= limit
    with pytest.raises(RequestError, match="cannot be met"):
        search_within_plan(replace(asked, budgets={SRAM: min(total for _, total in every) / 8}), search_exactly)


def test_the_shipped_device_gets_the_best_network_that_its_plan_holds():
    request = make_request("stm32f746")
    held = search_within_plan(request, search_exactly)
    plan = request.space.memory_plan.sram(structure_graph(held.result.structure))
    asked = held.result.evidence["sram"]
    assert plan.total <= request.budgets[SRAM] == asked["asked"]
    assert plan.alive <= held.request.budgets[SRAM] < request.budgets[SRAM]
    assert asked["upper_bound"] == pytest.approx(held.solution.certificate.score, abs=1e-6)
    memory = request.profile.memory
    assert plan.total + memory.reserved_sram <= memory.activation_bytes
    assert FLASH.cost(held.result.structure, request.space) + memory.reserved_flash <= memory.weight_bytes


@pytest.mark.parametrize("resolution", [160, 100, 33])
def test_flash_is_no_less_than_the_file_and_hardly_more(resolution):
    flatbuffer = pytest.importorskip("qedeploy.runtimes.litert.flatbuffer", exc_type=ImportError)
    from qedeploy.runtimes.litert.blank import blank
    from qedeploy.runtimes.litert.translation import translate

    space = make_request("stm32f746", resolution=resolution).space
    coding, random_ = Coding(space), np.random.default_rng(resolution)
    genes = coding.settle(np.stack([random_.integers(0, limit, 12) for limit in coding.limits()]))
    for number in range(genes.shape[1]):
        structure = coding.structure(genes[:, number])
        file = len(flatbuffer.to_flatbuffer(translate(blank(structure_graph(structure)))))
        assert file <= FLASH.cost(structure, space) <= 1.002 * file


def test_evolution_hands_out_nothing_whose_plan_is_over_the_limit(tmp_path):
    request = make_request("stm32f746", overrides={SRAM: 225.0 * 1024})
    chosen, folder = EvolutionSettings(seed=0, evaluations=60_000, population=200), SearchFolder(folder=tmp_path)
    found = run_evolution(request, chosen, folder)
    assert request.space.memory_plan.sram(structure_graph(found.structure)).total <= request.budgets[SRAM]
    assert found.request.budgets[SRAM] < request.budgets[SRAM]
    assert found.result.evidence["sram"]["asked"] == request.budgets[SRAM]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["search.json", "structure.json"]
    checks = {check.claim: check for check in verify(tmp_path)}
    assert all(check.holds for check in checks.values())
    assert checks["the plan of SRAM is within the limit"].detail.endswith("of 230400")


def test_a_plan_over_its_limit_is_found_out(tmp_path):
    request = make_request("stm32f746", overrides={SRAM: 225.0 * 1024})
    run_evolution(request, EvolutionSettings(seed=0, evaluations=4000), SearchFolder(folder=tmp_path))
    path = tmp_path / "search.json"
    document = json.loads(path.read_text())
    document["budgets"]["sram"]["limit"] = document["sram_plan"]["total"] - 1
    document["sram_plan"]["multipliers"] -= 8
    path.write_text(json.dumps(document))
    wrong = {check.claim for check in verify(path) if not check.holds}
    assert wrong == {"the plan of SRAM", "the plan of SRAM is within the limit"}


def test_a_limit_that_no_plan_keeps_is_refused_as_the_plan_s():
    request = make_request("stm32f746", overrides={SRAM: 180.0 * 1024})
    with pytest.raises(RequestError, match=r"the plan of SRAM is to be within 180 KiB: .*cannot be met"):
        search_within_plan(request, search_exactly)
