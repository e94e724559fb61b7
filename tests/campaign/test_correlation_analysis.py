"""Statistics against SciPy and by hand, and whole correlations of a device that follows a law."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qedeploy.campaign.correlation_analysis import Estimate, agreement, correlated, estimates_of, proportional
from qedeploy.campaign.correlation_report import document, draw_scatter, notes, rows_as_csv
from qedeploy.campaign.network_sampling import Drawn, draw_networks
from qedeploy.campaign.networks import MeasuredNetworks
from qedeploy.cli.correlate_tables import agreement_table
from qedeploy.errors import RequestError
from qedeploy.export.benchmark_cases import BenchmarkCase
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import NetworkPoint
from qedeploy.network.costs import structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.search.space.membership import outside
from tests.campaign.test_planner import REQUEST, Device
from tests.latency.laws import table

MODEL = LatencyModel(table(bottleneck_multiple=16, reference_seconds=1e-4), REQUEST.profile)


@pytest.fixture(scope="module")
def networks():
    return draw_networks(REQUEST, 8, model=MODEL)


values = st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=30, unique=True)


@settings(deadline=None, max_examples=5)
@given(values, st.integers(0, 100))
def test_agreements_are_those_of_scipy(found, seed):
    estimate = np.array(found)
    seconds = estimate * np.exp(np.random.default_rng(seed).normal(0, 0.5, len(found)))
    item = agreement(Estimate.TABLE, estimate, seconds)
    assert item.kendall == pytest.approx(stats.kendalltau(estimate, seconds).statistic)
    assert item.spearman == pytest.approx(stats.spearmanr(estimate, seconds).statistic)
    assert item.pearson == pytest.approx(stats.pearsonr(estimate, seconds).statistic)
    assert item.error == pytest.approx(np.mean(np.abs(estimate - seconds) / seconds))
    assert item.interval is not None
    assert -1 <= item.interval[0] <= item.interval[1] <= 1


def test_an_estimate_in_another_unit_is_made_seconds_by_one_factor():
    seconds = np.array([1.0, 2.0, 4.0, 8.0])
    exact = agreement(Estimate.MACS, seconds * 1e9, seconds)
    assert exact.error == pytest.approx(0)
    assert exact.kendall == 1
    assert agreement(Estimate.TABLE, seconds * 2, seconds).error == pytest.approx(1)


@settings(deadline=None, max_examples=40)
@given(values)
def test_no_other_factor_would_have_suited_the_others_better(found):
    estimate = np.array(found)
    seconds = np.sqrt(estimate)
    predicted = proportional(estimate, seconds)
    for index in range(len(found)):
        others = np.arange(len(found)) != index
        factor = predicted[index] / estimate[index]

        def missed(c, others=others):
            return np.abs(c * estimate[others] / seconds[others] - 1).mean()

        assert all(missed(factor) <= missed(factor * other) + 1e-12 for other in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


def test_a_network_has_no_say_in_its_own_factor():
    seconds = np.array([1.0, 1.0, 1.0, 100.0])
    assert proportional(np.ones(4), seconds)[3] == 1


def test_an_estimate_that_is_the_same_for_all_orders_nothing():
    item = agreement(Estimate.BYTES, np.ones(5), np.arange(1.0, 6.0))
    assert (item.kendall, item.pearson, item.interval) == (None, None, None)


def test_estimates_count_the_whole_network(networks):
    structure = networks[0].structure
    found = estimates_of(structure, REQUEST.profile, MODEL)
    layers = expand_layers(structure)
    assert found[Estimate.MACS] == sum(layer.macs for layer in layers)
    assert found[Estimate.NOMINAL] == structure_costs(structure).bitops + layers[-1].macs * 64
    assert found[Estimate.EXECUTED] == found[Estimate.NOMINAL]
    assert found[Estimate.TABLE] == MODEL.seconds(structure_graph(structure))
    assert Estimate.TABLE not in estimates_of(structure, REQUEST.profile, None)


@pytest.mark.slow
def test_networks_are_distinct_lie_in_the_space_and_are_drawn_alike_for_a_seed(networks):
    structures = [item.structure for item in networks]
    assert len(set(structures)) == 8
    assert all(outside(structure, REQUEST.space) is None for structure in structures)
    kinds = [item.drawn for item in networks]
    assert [kinds.count(kind) for kind in Drawn] == [4, 2, 2]
    assert draw_networks(REQUEST, 8, model=MODEL) == networks
    assert draw_networks(REQUEST, 4, seed=1) != draw_networks(REQUEST, 4)
    without = draw_networks(REQUEST, 5)
    assert [item.drawn for item in without].count(Drawn.BITOPS) == 2


def test_what_a_table_was_fitted_on_is_not_drawn(networks):
    known = [item.structure for item in networks]
    again = draw_networks(REQUEST, 8, model=MODEL, excluded=known)
    assert not set(known) & {item.structure for item in again}


def test_a_space_with_too_few_networks_is_refused():
    space = dataclasses.replace(
        REQUEST.space, channels=(8,), stem_channels=(8,), kernels=(3,), ratios=(2.0,), depths=((1,),) * 5
    )
    with pytest.raises(RequestError, match="has no 4 networks to try: 1 are left"):
        draw_networks(dataclasses.replace(REQUEST, space=space), 4)


def measured(drawn, *, factor=1.0, lost=()):
    device = Device()
    points = [
        NetworkPoint(
            structure=to_document(item.structure),
            seconds=factor * device.seconds(item.structure),
            spread=0.01,
            rounds=15,
        )
        for item in drawn
    ]
    return MeasuredNetworks(
        points=tuple(None if index in lost else point for index, point in enumerate(points)),
        reference_seconds=factor * 1e-4, machine={"cpu": "a law"}, runtime={"name": "none"}, failures=("why",),
    )  # fmt: skip


def test_a_slower_machine_shows_as_speed_and_not_as_error(networks):
    plain = correlated(networks, measured(networks), REQUEST.profile, MODEL)
    slow = correlated(networks, measured(networks, factor=1.5), REQUEST.profile, MODEL)
    assert plain.speed == pytest.approx(1)
    assert slow.speed == pytest.approx(1.5)
    assert slow.error_at_table_speed == pytest.approx(plain.error_at_table_speed)
    assert slow.agreements[-1].error > plain.agreements[-1].error
    assert slow.agreements[-1].kendall == plain.agreements[-1].kendall > 0.9


def test_lost_networks_are_left_out_and_counted(networks):
    result = correlated(networks, measured(networks, lost={0, 5}), REQUEST.profile, MODEL)
    assert (len(result.networks), result.lost) == (6, 2)
    assert networks[0] not in [item.network for item in result.networks]
    assert "2 networks were not measured." in notes(result)
    with pytest.raises(RequestError, match=r"2 of 8 networks could be measured, too few to compare: .*: why"):
        correlated(networks, measured(networks, lost=range(6)), REQUEST.profile, MODEL)


def test_what_is_written_holds_every_network(tmp_path, networks):
    result = correlated(networks, measured(networks), REQUEST.profile, MODEL)
    written = json.loads(json.dumps(document(result, {"profile": "x"})))
    assert [from_document(item["structure"], "t") for item in written["networks"]] == [i.structure for i in networks]
    lines = rows_as_csv(result).splitlines()
    assert len(lines) == 9
    assert lines[0] == "drawn,seconds,spread,MACs,nominal BitOps,executed BitOps,parameter bytes,latency table"
    figure = draw_scatter(tmp_path / "a.svg", result).read_text()
    assert draw_scatter(tmp_path / "b.svg", result).read_text() == figure
    assert "latency table" in figure
    assert agreement_table(result).row_count == 5


def test_equal_networks_have_equal_keys_wherever_they_are_measured(networks):
    assert len({BenchmarkCase(structure=item.structure).key for item in networks}) == 8
