"""The array code says what the layer-by-layer code says, on the reference's structures and on anything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qedeploy.network.layers import LayerCategory
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.structure import Bits
from qedeploy.search.costs.budgets.counted import BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.population import Shapes
from qedeploy.search.costs.population_costs import Meter
from qedeploy.search.costs.registry import budget_costs, known_budgets
from qedeploy.search.evolution.mutation import Mutator
from qedeploy.search.evolution.population import Coding
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.search.space.space import BitsPer
from tests.search.spaces import W4A4, W4A16, W8A8, make_space, spaces

EVERY_PAIR = tuple(Bits(weight=weight, activation=activation) for weight in range(2, 9) for activation in range(2, 9))


def shapes_of(structures, meter):
    """Shapes of structures of three blocks at most a stage, in or out of the space's channels and ratios."""
    space = meter.space
    widths = np.zeros((len(space.strides), 3, 3, len(structures)), int)
    for member, structure in enumerate(structures):
        for index, stage in enumerate(structure.stages):
            for slot, block in enumerate(stage.blocks):
                for position, bits in enumerate(block.layers()):
                    widths[index, slot, position, member] = meter.block_bits[position].index(bits)

    def per_stage(field):
        return np.array([[field(stage) for stage in structure.stages] for structure in structures]).T

    return Shapes(
        stem=np.array([structure.stem.out_channels for structure in structures]),
        head=np.array([space.pairs[LayerCategory.HEAD].index(structure.head.bits) for structure in structures]),
        channels=per_stage(lambda stage: stage.out_channels),
        kernels=per_stage(lambda stage: stage.kernel),
        bottlenecks=per_stage(lambda stage: stage.bottleneck_channels),
        depths=per_stage(lambda stage: len(stage.blocks)),
        widths=widths,
    )


def test_golden_structures_measure_as_the_reference_says(golden):
    meters = {}
    for record in golden:
        structure = from_blocks(record["structure"])
        key = (tuple(stage.stride for stage in structure.stages), structure.stem.bits)
        if key not in meters:
            space = make_space(
                pointwise=EVERY_PAIR, depthwise=EVERY_PAIR, bits_per=BitsPer.LAYER, strides=key[0], stem_bits=key[1]
            )
            meters[key] = Meter(space)
        meter = meters[key]
        measures = meter.measure(shapes_of([structure], meter), known_budgets(meter.space))
        assert measures.score[0] == pytest.approx(record["score"], rel=1e-12)
        assert measures.costs[FLOPS][0] == pytest.approx(record["flops"], rel=1e-12)
        assert measures.costs[BITOPS][0] == pytest.approx(64 * record["flops"], rel=1e-12)
        assert measures.costs[SIZE][0] == pytest.approx(record["model_size"], rel=1e-12)
        assert measures.costs[LAYERS][0] == record["layers"]
        assert measures.costs[PEAK_MEMORY][0] == pytest.approx(record["max_feature"], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32))
def test_mutants_stay_in_the_space_and_measure_layer_by_layer(space, seed):
    coding, random = Coding(space), np.random.default_rng(seed)
    mutator = Mutator(coding)
    genes = np.repeat(coding.smallest(), 12, axis=1)
    for _ in range(int(random.integers(1, 30))):
        mutator.mutate(genes, random)
    coding.settle(genes)
    assert np.all(genes >= 0)
    assert np.all(genes < coding.limits()[:, None])
    measures = coding.measure(genes, known_budgets(space))
    for member in range(genes.shape[1]):
        structure = coding.structure(genes[:, member])
        widths = [structure.stem.out_channels, *(stage.out_channels for stage in structure.stages)]
        assert widths == sorted(widths)
        assert measures.score[member] == pytest.approx(qe_score(structure, space.score), rel=1e-12, abs=1e-12)
        found = {kind: cost[member] for kind, cost in measures.costs.items()}
        assert found == pytest.approx(budget_costs(structure, space), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32))
def test_genes_survive_the_way_through_a_structure(space, seed):
    coding, random = Coding(space), np.random.default_rng(seed)
    genes = np.repeat(coding.smallest(), 4, axis=1)
    for _ in range(10):
        Mutator(coding).mutate(genes, random)
    structures = [coding.structure(column) for column in coding.settle(genes).T]
    again = coding.encode(structures)
    assert [coding.structure(column) for column in again.T] == structures


def test_a_structure_of_other_widths_starts_at_the_nearest_member(named_golden):
    space = make_space(pointwise=(W4A16, W8A8), depthwise=(W8A8,))
    coding = Coding(space)
    start = from_blocks(named_golden["mixed7d0G"]["structure"])
    nearest = coding.structure(coding.encode([start])[:, 0])
    assert [stage.out_channels for stage in nearest.stages] == [stage.out_channels for stage in start.stages]
    assert {block.depthwise for stage in nearest.stages for block in stage.blocks} == {W8A8}


def test_mutations_reach_every_choice_of_every_gene():
    space = make_space(pointwise=(W4A4, W4A16, W8A8), depthwise=(W4A4, W8A8), channels=(8, 16, 24, 48, 96))
    coding, random = Coding(space), np.random.default_rng(0)
    largest = coding.settle((coding.limits() - 1)[:, None])
    genes = np.repeat(np.hstack([coding.smallest(), largest]), 200, axis=1)
    seen = [set() for _ in range(coding.genes)]
    for _ in range(100):
        Mutator(coding).mutate(genes, random)
        for row, values in zip(seen, genes, strict=True):
            row.update(np.unique(values).tolist())
    assert [len(values) for values in seen] == coding.limits().tolist()
