"""Rank correlations against SciPy, estimates against the costs, the time model against times made from its terms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from qedeploy.bench.attribution.correlation import correlate, fit_time_model
from qedeploy.bench.attribution.estimates import estimate
from qedeploy.network.costs import structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Structure
from tests.export.networks import small_structure
from tests.network.structures import structures

EIGHT = Bits(weight=8, activation=8)


def estimates_of(structure: Structure):
    return estimate(structure_graph(structure), {})


@settings(max_examples=50)
@given(structures())
def test_layer_bitops_sum_to_the_networks(structure):
    items = estimates_of(structure)
    total = sum(item.nominal_bitops for item in items if item.kind is not LayerCategory.CLASSIFIER)
    assert total == pytest.approx(structure_costs(structure).bitops, rel=1e-12)
    classifier = items[-1]
    bits = structure.classifier.bits
    assert classifier.nominal_bitops == classifier.macs * bits.weight * bits.activation


def test_executed_widths_and_batches():
    structure = small_structure(Bits(weight=4, activation=4))
    nominal, executed = (
        estimate(structure_graph(structure), {}),
        estimate(structure_graph(structure), {"head": EIGHT}, batch=3),
    )
    by_name = {item.name: item for item in executed}
    assert by_name["head"].executed == EIGHT
    assert by_name["head"].nominal_bitops == 3 * next(i.nominal_bitops for i in nominal if i.name == "head")
    assert by_name["head"].executed_bitops > by_name["head"].nominal_bitops
    assert by_name["stem"].executed_bitops == by_name["stem"].nominal_bitops
    head = by_name["head"]
    # 16 channels of 4x4 in, 32 out, and 16x32 weights, a byte each.
    assert head.bytes_moved == 3 * (16 * 4 * 4 + 32 * 4 * 4) + 16 * 32


def test_correlations_are_scipys():
    generator = np.random.default_rng(0)
    first = generator.normal(size=40)
    second = first + generator.normal(size=40)
    found = correlate("anything", list(first), list(second))
    assert found.layers == 40
    assert found.spearman == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.kendall == pytest.approx(stats.kendalltau(first, second).statistic)


@pytest.mark.parametrize(("estimates", "seconds"), [([], []), ([1.0, 2.0], [1.0, 2.0]), ([3.0] * 5, [1.0, 2, 3, 4, 5])])
def test_correlations_that_do_not_exist_are_none(estimates, seconds):
    found = correlate("anything", estimates, seconds)
    assert found.spearman is None
    assert found.kendall is None


def test_the_time_model_finds_the_terms_that_made_the_times():
    items = estimates_of(small_structure(EIGHT, resolution=32))
    dense, depthwise, byte, layer = 1e-13, 2e-12, 3e-11, 4e-6
    seconds = [
        (depthwise if item.kind is LayerCategory.DEPTHWISE else dense) * item.executed_bitops
        + byte * item.bytes_moved
        + layer
        for item in items
    ]
    model = fit_time_model(items, seconds)
    assert model is not None
    assert [term.seconds_per_unit for term in model.terms] == pytest.approx([dense, depthwise, byte, layer], rel=1e-6)
    assert model.r_squared == pytest.approx(1.0)
    assert model.error == pytest.approx(0.0, abs=1e-9)
    assert sum(term.share for term in model.terms) == pytest.approx(1.0)


def test_the_time_model_names_the_layer_it_misses():
    items = estimates_of(small_structure(EIGHT, resolution=32))
    seconds = [1e-12 * item.executed_bitops + 1e-6 for item in items]
    late = next(index for index, item in enumerate(items) if item.name == "stage1.block2.expand")
    seconds[late] *= 20
    model = fit_time_model(items, seconds)
    assert model is not None
    assert model.worst(1)[0].name == "stage1.block2.expand"
    assert all(term.seconds_per_unit >= 0 for term in model.terms)
    assert model.by_layer()["stem"] > 0


def test_a_time_model_needs_more_layers_than_terms():
    items = estimates_of(small_structure(EIGHT))[:4]
    assert fit_time_model(items, [1e-6] * 4) is None
