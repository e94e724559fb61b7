"""Looked-up times are those of the latency model, layer by layer, structure by structure, in both solvers."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.profiles.loader import load_profile
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.layer_times import constant_seconds, layer_times
from qedeploy.search.evolution.mutation import Mutator
from qedeploy.search.evolution.population import Coding
from qedeploy.search.exact.problem import Problem
from qedeploy.search.space.layers import structure_layers
from qedeploy.search.space.recipe_loader import load_recipe
from qedeploy.search.space.space import SearchSpace, bottleneck_channels
from qedeploy.search.space.space_builder import build_space
from tests.search.made_up_latency import MadeUpLatency, plausible_table
from tests.search.spaces import make_space, spaces

REAL = ["cpu-int8", "t4-int4", "stm32f746-cmix"]


@cache
def real_space(profile_name: str) -> SearchSpace:
    profile = load_profile(profile_name)
    recipe = load_recipe(profile.recipe)
    if profile_name == "stm32f746-cmix":
        return build_space(recipe, profile, MadeUpLatency(1))
    return build_space(recipe, profile, LatencyModel(plausible_table(profile, recipe), profile))


def random_genes(coding: Coding, seed: int, members: int):
    random = np.random.default_rng(seed)
    genes = np.repeat(coding.smallest(), members, axis=1)
    for _ in range(60):
        Mutator(coding).mutate(genes, random)
    return coding.settle(genes)


def parts_of(space: SearchSpace, structure) -> float:
    """The constant and the solver's parts of every layer of `structure`, added up."""
    problem = Problem.of(space, {LATENCY: 1.0})
    (cost,) = problem.costs

    def at(layers, bits):
        pair = layers.layers.pairs.bits.index(bits)
        return sum(float(part.shape) * part.factor[pair] for part in layers.costs[0])

    before = np.array(structure.stem.out_channels)
    total = cost.constant + at(problem.stem(before), structure.stem.bits)
    for step, stage in enumerate(structure.stages):
        out = np.array(stage.out_channels)
        ratio = next(r for r in space.ratios if bottleneck_channels(stage.out_channels, r) == stage.bottleneck_channels)
        for number, block in enumerate(stage.blocks):
            shapes = problem.blocks(
                step, first=number == 0, in_channels=before, out_channels=out,
                kernel=np.array(stage.kernel), ratio=np.array(ratio),
            )  # fmt: skip
            for layers, bits in zip(shapes.layers, block.layers(), strict=True):
                total += at(layers, bits)
            before = out
    return total + at(problem.head(before), structure.head.bits)


@pytest.mark.parametrize("name", REAL)
def test_parts_and_arrays_add_up_to_the_models_seconds_on_real_recipes(name: str) -> None:
    space = real_space(name)
    coding = Coding(space)
    genes = random_genes(coding, 7, 40)
    found = coding.measure(genes, {LATENCY}).costs[LATENCY]
    assert len(np.unique(found)) > 30
    for member in range(genes.shape[1]):
        structure = coding.structure(genes[:, member])
        seconds = space.latency.seconds(structure_graph(structure))
        assert found[member] == seconds
        assert parts_of(space, structure) == seconds


@settings(max_examples=50)
@given(space=spaces(), seed=st.integers(0, 2**32))
def test_parts_and_arrays_add_up_to_the_models_seconds(space: SearchSpace, seed: int) -> None:
    coding = Coding(space)
    genes = random_genes(coding, seed, 6)
    found = coding.measure(genes, {LATENCY}).costs[LATENCY]
    for member in range(genes.shape[1]):
        structure = coding.structure(genes[:, member])
        assert found[member] == parts_of(space, structure) == space.latency.seconds(structure_graph(structure))


@pytest.mark.parametrize("name", REAL[:2])
def test_each_layer_is_looked_up_at_its_place(name: str) -> None:
    space = real_space(name)
    coding, times = Coding(space), layer_times(space)
    for column in random_genes(coding, 3, 8).T:
        structure = coding.structure(column)
        *layers, classifier = expand_layers(structure)
        known = space.latency.seconds_by_layer(structure_graph(structure))
        assert known[classifier.name] == constant_seconds(space)
        for layer, (_, alone) in zip(layers, structure_layers(structure), strict=True):
            assert alone.place.role == layer.name.rpartition(".")[2]
            assert times.table(alone.place, (layer.bits,))[0][times.index(alone)] == known[layer.name]


def test_tables_are_shared_by_equal_spaces_and_not_by_others() -> None:
    space = real_space("cpu-int8")
    assert layer_times(space) is layer_times(
        build_space(load_recipe("k1dwk1-224"), load_profile("cpu-int8"), space.latency)
    )
    assert layer_times(space) is not layer_times(real_space("t4-int4"))


def test_a_space_without_a_latency_model_says_so() -> None:
    with pytest.raises(UserError, match="with a latency table"):
        Problem.of(make_space(), {LATENCY: 1.0})
    assert LATENCY not in Coding(make_space()).measure(Coding(make_space()).smallest(), ()).costs
