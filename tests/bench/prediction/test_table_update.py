"""What a run teaches a table: afterwards it predicts what was measured, and a doubtful run teaches nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.bench.prediction.table_update import Lesson, learn, require_updatable, update_table
from qedeploy.errors import RequestError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Calibration, Source, read_table
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Bits
from qedeploy.rulings import Ruling
from qedeploy.runtimes.timing import Samples
from tests.bench.latency_tables import MULTIPLE, PROFILE, expectation_of, profile_of, table_for
from tests.export.networks import small_structure

STRUCTURE = small_structure(Bits(weight=8, activation=8))
SHAPES = shapes_of(structure_graph(STRUCTURE), MULTIPLE)
TABLE = table_for(STRUCTURE)
WALL = 2e-4


def lesson(wall: float = WALL, *, pace: float = 1.0, queries: int = 300, noise: float = 0.0, limit: float = 0.025):
    latency = wall * (1 + noise * np.resize([-1.0, 0.0, 1.0], queries))
    return Lesson(
        samples=Samples(latency=latency, elapsed=float(latency.sum())),
        profile=profile_of(STRUCTURE, wall / 12),
        pace=pace,
        variation_limit=limit,
    )


def test_the_table_predicts_what_was_measured_afterwards(tmp_path):
    path = tmp_path / "table.json"
    found = update_table(expectation_of(STRUCTURE, TABLE, path), lesson())
    taught = read_table(path)
    assert LatencyModel(taught, PROFILE).seconds(structure_graph(STRUCTURE)) == pytest.approx(WALL, rel=0.02)
    assert found.outcome is Ruling.PASSED
    assert (found.replaced, found.added, found.networks) == (len(set(SHAPES.values())), 0, 1)
    assert found.before == pytest.approx(LatencyModel(TABLE, PROFILE).seconds(structure_graph(STRUCTURE)))
    assert found.after == pytest.approx(WALL, rel=0.02)
    assert {point.source for point in taught.points} == {Source.BENCH}


def test_shapes_that_the_table_lacks_are_added(tmp_path):
    other = small_structure(Bits(weight=8, activation=8), channels=32, bottleneck=64)
    found = update_table(expectation_of(STRUCTURE, table_for(other), tmp_path / "table.json"), lesson())
    known = set(shapes_of(structure_graph(other), MULTIPLE).values())
    assert found.added == len(set(SHAPES.values()) - known) > 0
    assert len(read_table(tmp_path / "table.json").points) == len(known | set(SHAPES.values()))


def test_a_slow_moment_of_the_machine_is_taken_off():
    expectation = expectation_of(STRUCTURE, TABLE)
    usual, slow = learn(TABLE, expectation, lesson()), learn(TABLE, expectation, lesson(2 * WALL, pace=2.0))
    assert [point.seconds for point in slow.points] == pytest.approx([point.seconds for point in usual.points])
    assert slow.networks[0].seconds == pytest.approx(WALL)


@given(
    scale=st.floats(0.5, 2.0),
    constant=st.floats(0.0, WALL / 4),
    per_byte=st.floats(0.0, 1e-9),
    pace=st.floats(0.7, 1.5),
)
def test_points_are_of_parts_alone_so_that_the_calibration_leads_back_to_the_run(scale, constant, per_byte, pace):
    calibration = Calibration(scale=scale, constant=constant, seconds_per_weight_byte=per_byte)
    table = dataclasses.replace(TABLE, calibration=calibration)
    taught = learn(table, expectation_of(STRUCTURE, table), lesson(pace=pace))
    seconds = {point.shape: point.seconds for point in taught.points}
    weights = dataclasses.replace(table, calibration=Calibration(scale=0.0, seconds_per_weight_byte=1.0))
    weight_bytes = LatencyModel(weights, PROFILE).seconds(structure_graph(STRUCTURE))
    whole = constant + per_byte * weight_bytes + scale * sum(seconds[shape] for shape in SHAPES.values())
    assert whole == pytest.approx(WALL / pace, rel=0.02)


def test_the_same_network_joins_the_calibration_once_and_others_stay(tmp_path):
    path = tmp_path / "table.json"
    other = small_structure(Bits(weight=8, activation=8), resolution=32)
    table = table_for(other)
    table = learn(dataclasses.replace(table), expectation_of(other, table), dataclasses.replace(
        lesson(), profile=profile_of(other, WALL / 12)
    ))  # fmt: skip
    expectation = expectation_of(STRUCTURE, table, path)
    counts = [update_table(expectation, lesson(wall)).networks for wall in (WALL, 1.1 * WALL)]
    assert counts == [2, 2]
    assert sorted(network.seconds for network in read_table(path).networks) == pytest.approx([WALL, 1.1 * WALL])


def test_what_the_file_gained_meanwhile_stays(tmp_path):
    path = tmp_path / "table.json"
    expectation = expectation_of(STRUCTURE, TABLE, path)
    more = table_for(small_structure(Bits(weight=8, activation=8), resolution=32)).points
    expectation_of(STRUCTURE, TABLE.with_points(more), path)
    update_table(expectation, lesson())
    assert {point.shape for point in more} <= {point.shape for point in read_table(path).points}


def test_a_part_that_ran_in_no_node_teaches_nothing():
    fused = lesson()
    nodes = tuple(node for node in fused.profile.nodes if node.name != "head")
    fused = dataclasses.replace(fused, profile=dataclasses.replace(fused.profile, nodes=nodes))
    taught = learn(TABLE, expectation_of(STRUCTURE, TABLE), fused)
    sources = {point.shape: point.source for point in taught.points}
    assert sources[SHAPES["head"]] is Source.MEASURED
    assert sources[SHAPES["stem"]] is Source.BENCH


def test_the_spread_is_that_of_the_run_and_of_layers_that_share_a_shape():
    profile = lesson().profile
    uneven = tuple(
        dataclasses.replace(node, seconds=node.seconds * (3 if node.name == "stage1.block1.expand" else 1))
        for node in profile.nodes
    )
    run = dataclasses.replace(lesson(), profile=dataclasses.replace(profile, nodes=uneven))
    points = {point.shape: point for point in learn(TABLE, expectation_of(STRUCTURE, TABLE), run).points}
    assert points[SHAPES["stage1.block1.expand"]].unstable
    assert not points[SHAPES["stem"]].unstable
    assert points[SHAPES["stage1.block1.expand"]].rounds > points[SHAPES["stem"]].rounds


@pytest.mark.parametrize(
    ("doubtful", "expected"),
    [
        (lesson(noise=0.3), "latency varies by 24.5%, over 2.5%"),
        (lesson(queries=50), "50 queries are too few, expected 100"),
    ],
)
def test_a_doubtful_run_is_withheld_and_leaves_the_file_alone(doubtful, expected, tmp_path):
    path = tmp_path / "table.json"
    expectation = expectation_of(STRUCTURE, TABLE, path)
    before = path.read_bytes()
    found = update_table(expectation, doubtful)
    assert found.outcome is Ruling.WITHHELD
    assert expected in found.sentence
    assert path.read_bytes() == before


def test_more_variation_can_be_accepted_openly(tmp_path):
    expectation = expectation_of(STRUCTURE, TABLE, tmp_path / "table.json")
    assert update_table(expectation, lesson(noise=0.3, limit=0.5)).outcome is Ruling.PASSED


def test_tables_of_others_and_imported_ones_are_refused():
    expectation = expectation_of(STRUCTURE, TABLE)
    require_updatable(expectation)
    with pytest.raises(RequestError, match="it has 4 threads instead of 1 thread"):
        require_updatable(dataclasses.replace(expectation, differences=("4 threads instead of 1 thread",)))
    points = tuple(dataclasses.replace(point, source=Source.IMPORTED) for point in TABLE.points)
    with pytest.raises(RequestError, match="holds imported times"):
        require_updatable(expectation_of(STRUCTURE, dataclasses.replace(TABLE, points=points)))
