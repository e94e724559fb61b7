"""A score and a budget of one's own, each written in this file alone: searched, counted, written and verified."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np
import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.search.audit.verification import verify
from qedeploy.search.costs.budget import AdditiveBudget, Budget
from qedeploy.search.costs.budgets.counted import BITOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.registry import _BUDGETS, add_budget, all_budgets, budget_named
from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.evolution.population import Coding
from qedeploy.search.evolution.solver import solve as evolve
from qedeploy.search.exact.problem import Problem
from qedeploy.search.exact.search import search_exactly
from qedeploy.search.exact.solver import solve
from qedeploy.search.request import make_request
from qedeploy.search.result import write_result
from qedeploy.search.score.registry import _SCORES, add_score
from qedeploy.search.score.score import AdditiveScore
from qedeploy.search.space.budgets import parse_budget
from qedeploy.search.space.recipe_file import recipe_from_document, recipe_to_document
from qedeploy.search.space.recipe_loader import load_recipe
from tests.search.exact.small_spaces import random_space, structures
from tests.search.spaces import make_space


@dataclass(frozen=True, slots=True, kw_only=True)
class Roughness(AdditiveScore):
    """Likes odd shapes and widths, so that no other score's terms would choose alike; its sums are exact."""

    name: ClassVar[str] = "roughness"
    label: ClassVar[str] = "roughness"
    weight_bits: float = 0.5

    def shape_term(self, layers):
        return np.asarray((layers.fan_in % 24) * 0.25 + (layers.out_channels % 40) * 0.125 + layers.kernel)

    def pair_term(self, kind, bits):
        return self.weight_bits * bits.weight + (bits.activation % 5) + 2.0 * (kind is LayerCategory.DEPTHWISE)

    def end_term(self, out_channels):
        return np.asarray(np.multiply(out_channels, 0.0625))

    def weights(self, strides):
        return tuple(1.0 + 0.5 * (block % 2) for block in range(len(strides))), tuple(map(float, strides))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic(AdditiveBudget):
    """Bytes that layers read and write, the weights once."""

    def parts(self, space, layers):
        read = layers.in_channels * layers.place.size**2
        return (read, layers.pairs.activation / 8), (layers.weights, layers.pairs.weight / 8)


TRAFFIC: Budget = Traffic(name="traffic", key="traffic_bytes", label="bytes moved", step=(1024.0, "a KiB moved"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deepest(Budget):
    """The most blocks of any stage: a cost that does not add up."""

    def cost(self, structure, space):
        return float(max(len(stage.blocks) for stage in structure.stages))

    def costs(self, space, population):
        return population.shapes.depths.max(axis=0)

    def least(self, space):
        return float(max(min(depths) for depths in space.depths))


DEEPEST: Budget = Deepest(name="deepest", key="deepest", label="blocks of a stage", step=(1.0, "a block"))


@pytest.fixture
def registered():
    add_budget(TRAFFIC)
    add_score(Roughness)
    yield
    _BUDGETS.remove(TRAFFIC.name)
    _SCORES.remove(Roughness.name)


def roughness(structure) -> float:
    """The score once more, layer by layer in plain Python."""
    blocks = (structure.stem, *structure.stages, structure.head)
    total = 0.0
    for number, block in enumerate(blocks):
        total += block.stride * block.out_channels / 16
        name = ("stem", *(f"stage{n}" for n in range(1, len(blocks) - 1)), "head")[number]
        for layer in expand_layers(structure):
            if layer.name.partition(".")[0] == name:
                fan_in = 1 if layer.name.endswith("depthwise") else layer.in_channels
                shape = (fan_in % 24) / 4 + (layer.out_channels % 40) / 8 + layer.kernel
                widths = layer.bits.weight / 2 + layer.bits.activation % 5 + 2 * layer.name.endswith("depthwise")
                total += (1.5 if number % 2 else 1.0) * (shape + widths)
    return total


def traffic(structure) -> float:
    layers = [layer for layer in expand_layers(structure) if layer.name != "classifier"]
    total = 0.0
    for layer in layers:
        total += layer.in_channels * layer.nominal_size**2 * layer.bits.activation / 8
        total += layer.weight_count * layer.bits.weight / 8
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_exact_search_equals_brute_force(seed):
    space = replace(random_space(seed), score=Roughness())
    every = [(roughness(structure), traffic(structure), structure) for structure in structures(space)]
    for score, cost, structure in every:
        assert space.score.of(structure) == score
        assert TRAFFIC.cost(structure, space) == cost
    limits = sorted(cost for _, cost, _ in every)
    assert TRAFFIC.least(space) == limits[0]
    for number, other in product((0, len(limits) // 7, len(limits) // 2, -1), (False, True)):
        budgets = {TRAFFIC: limits[number]}
        if other:
            budgets |= {kind: kind.cost(every[len(every) // 2][2], space) for kind in (BITOPS, PEAK_MEMORY)}
        fits = [s for s, _, x in every if all(kind.cost(x, space) <= limit for kind, limit in budgets.items())]
        if not fits:
            with pytest.raises(RequestError):
                solve(Problem.of(space, budgets))
            continue
        solution = solve(Problem.of(space, budgets))
        assert solution.certificate.status == "optimal"
        assert roughness(solution.found[0].structure) == max(fits)
        assert traffic(solution.found[0].structure) <= limits[number]


@pytest.mark.parametrize("bits_per", ["block", "layer"])
def test_arrays_score_and_cost_as_one_structure_alone(bits_per):
    space = replace(make_space(bits_per=bits_per), score=Roughness(weight_bits=0.25))
    coding, random = Coding(space), np.random.default_rng(3)
    genes = coding.settle((random.random((coding.genes, 40)) * coding.limits()[:, None]).astype(np.int16))
    found = coding.measure(genes, (TRAFFIC, DEEPEST))
    for member in range(genes.shape[1]):
        structure = coding.structure(genes[:, member])
        assert found.score[member] == pytest.approx(space.score.of(structure), rel=1e-13)
        assert found.costs[TRAFFIC][member] == traffic(structure)
        assert found.costs[DEEPEST][member] == max(len(stage.blocks) for stage in structure.stages)


def test_evolution_keeps_a_budget_that_does_not_add_up_and_the_exact_search_refuses_it():
    space = replace(make_space(), score=Roughness())
    result = evolve(space, {DEEPEST: 1.0, TRAFFIC: 3e6}, EvolutionSettings(evaluations=4000, population=64))
    assert all(len(stage.blocks) == 1 for stage in result.structure.stages)
    assert traffic(result.structure) <= 3e6
    with pytest.raises(RequestError, match="budget deepest: the exact method needs budgets that add up"):
        Problem.of(space, {DEEPEST: 1.0})


def test_a_search_with_both_is_written_and_verified(registered, tmp_path):
    table = recipe_to_document(load_recipe("mixed-7d0g"))
    table |= {"score": {"kind": "roughness", "weight_bits": 0.75}, "budgets": {"traffic": 2.5e6, "layers": 30}}
    del table["start"]
    table["stages"] |= {"channels": [8, 16, 24, 40], "bits": ["W4A4", "W8A8"]}
    recipe = recipe_from_document(table, name="own", source="own")
    assert recipe.score == Roughness(weight_bits=0.75)
    assert recipe.budgets == {LAYERS: 30.0, TRAFFIC: 2.5e6}
    assert recipe_from_document(recipe_to_document(recipe), name="own", source="own") == recipe
    own = tmp_path / "own.toml"
    own.write_text(toml(recipe_to_document(recipe)))
    request = make_request("any-bits", str(own), dict([parse_budget("traffic=2.4M")]))
    result, _ = search_exactly(request)
    write_result(tmp_path, request, result)
    document = json.loads((tmp_path / "search.json").read_text())
    assert document["traffic_bytes"] == traffic(result.structure) == document["budgets"]["traffic"]["used"]
    assert document["score"] == pytest.approx(Roughness(weight_bits=0.75).of(result.structure), rel=1e-15)
    checks = verify(tmp_path, lambda path: result.structure)
    assert [check for check in checks if check.holds is not True] == []
    assert {"traffic_bytes", "budget traffic is kept"} <= {check.claim for check in checks}
    (tmp_path / "search.json").write_text(json.dumps(document | {"traffic_bytes": 1.0}))
    wrong = [check.claim for check in verify(tmp_path, lambda path: result.structure) if not check.holds]
    assert wrong == ["traffic_bytes"]


def toml(table: dict) -> str:
    """A recipe's tables as TOML: values that JSON writes alike, and tables one deep."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in inner.items())])
        for name, inner in table.items()
        if isinstance(inner, dict)
    ]
    return "\n".join([*plain, *tables]) + "\n"


def test_a_name_that_is_taken_is_refused(registered):
    with pytest.raises(UserError, match="budget traffic: expected a name of its own"):
        add_budget(Traffic(name="traffic", key="other", label="other", step=(1.0, "one")))
    assert budget_named("traffic") is TRAFFIC
    assert all_budgets()[-1] is TRAFFIC
    with pytest.raises(UserError, match=r"budget 'traffik' \(did you mean traffic\?\): expected one of bitops, "):
        budget_named("traffik")


def test_an_unknown_setting_of_an_own_score_is_named(registered):
    table = recipe_to_document(load_recipe("mixed-7d0g")) | {"score": {"kind": "roughness", "sigma_weight": 4.0}}
    with pytest.raises(UserError, match=r"own: score\.sigma_weight: unknown key"):
        recipe_from_document(table, name="own", source="own")


def test_an_additive_budget_beside_the_ones_there_are():
    space = make_space(channels=(8, 16, 24), stem_channels=(8, 16))
    solution = solve(Problem.of(space, {TRAFFIC: 4e6, SIZE: 1e6}))
    assert solution.certificate.status == "optimal"
    assert set(solution.certificate.multipliers) == {"traffic", "size"}
