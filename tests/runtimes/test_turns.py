"""What alternated runs say of the time that a change takes."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.timing import TimingProtocol
from qedeploy.runtimes.turns import NodeTimes, added_seconds, seconds_around
from tests.export.onnx_networks.networks import mobile_network

EXECUTION = find_runtime("onnxruntime").mixed


def times(**seconds):
    return NodeTimes(
        seconds={(name,): (value,) if isinstance(value, float) else value for name, value in seconds.items()}
    )


def test_what_only_one_has_is_the_difference():
    reference = times(a=1.0, b=2.0, conv=3.0)
    assert added_seconds(reference, times(a=1.0, b=2.0, qconv=0.5, q=0.25)) == pytest.approx(-2.25)


def test_a_slower_machine_is_taken_out():
    reference = times(a=1.0, b=2.0, conv=3.0)
    assert added_seconds(reference, times(a=3.0, b=6.0, qconv=1.5, q=0.75)) == pytest.approx(-2.25)


def test_another_number_of_nodes_of_a_kind_is_a_difference():
    reference = times(a=4.0, move=(1.0, 1.0))
    assert added_seconds(reference, times(a=4.0, move=(1.0, 1.0, 1.0))) == pytest.approx(1.0)


def test_too_little_in_common_says_nothing_of_the_pace():
    reference = times(tiny=0.01, conv=10.0)
    assert added_seconds(reference, times(tiny=0.03, qconv=5.0)) == pytest.approx(-5.0)


def fixed_network():
    return mobile_network(sizes=[1, 3, 32, 48]).SerializeToString()


def test_models_in_turn_meet_the_same_data_and_share_their_nodes():
    feeds = [{"image": np.random.default_rng(seed).normal(size=(1, 3, 32, 48)).astype(np.float32)} for seed in range(3)]
    runs = EXECUTION.alternate({"a": fixed_network(), "b": fixed_network()}, feeds, 0.1, 1)
    assert len(runs["a"].outputs) == 3
    for first, second in zip(runs["a"].outputs, runs["b"].outputs, strict=True):
        np.testing.assert_array_equal(first[0], second[0])
    assert runs["a"].nodes.seconds.keys() == runs["b"].nodes.seconds.keys()
    assert added_seconds(runs["a"].nodes, runs["b"].nodes) == 0.0
    assert 0 < runs["a"].nodes.total < 0.1


def test_queries_in_turn_are_timed_as_a_whole_and_make_what_nodes_in_turn_make():
    feeds = [{"image": np.random.default_rng(seed).normal(size=(1, 3, 32, 48)).astype(np.float32)} for seed in range(3)]
    runs = EXECUTION.compare({"a": fixed_network(), "b": fixed_network()}, feeds, 0.05, 1)
    expected = EXECUTION.alternate({"a": fixed_network()}, feeds, 0.0, 1)["a"].outputs
    for run in runs.values():
        assert 0 < run.seconds < 0.1
        for first, second in zip(run.outputs, expected, strict=True):
            np.testing.assert_array_equal(first[0], second[0])


def test_the_first_query_of_a_session_and_of_a_turn_are_not_counted():
    from qedeploy.runtimes.onnxruntime.alternation import _QUERIES_IN_A_TURN, _typical

    turn = [5.0, *[1.0] * (_QUERIES_IN_A_TURN - 1)]
    assert _typical([9.0, *turn, *turn]) == 1.0
    assert _typical([9.0]) == 9.0


def test_a_timed_model_is_measured_by_the_protocol():
    feed = {"image": np.zeros((1, 3, 32, 48), np.float32)}
    samples = EXECUTION.timed(fixed_network(), feed, 1).measure(TimingProtocol(warm_up=0, duration=0, iterations=7))
    assert len(samples.latency) == 7
    assert (samples.latency > 0).all()


def test_what_stands_around_a_kernel_is_told_apart():
    reference = times(a=1.0, conv=5.0, b=2.0, move=0.5)
    changed = times(a=2.0, q=0.5, qconv=3.0, dq=0.25, b=4.0, move=(1.0, 1.0))
    # At half the reference's pace; of the moves one was there before.
    assert seconds_around(reference, changed, {"qconv"}) == pytest.approx((0.25, 0.875))
    assert seconds_around(reference, reference, {"qconv"}) == (0.0, 0.0)
