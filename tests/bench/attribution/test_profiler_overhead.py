"""A profiled pass brought back to an unprofiled one: nothing is lost on the way, and every node has its part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.bench.attribution.profiler_overhead import seconds_by_part, without_overhead
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.runtimes.onnxruntime.node_names import NODE_NAMES
from qedeploy.runtimes.runner import NodeTime, ProfiledRun
from qedeploy.runtimes.runner import RunnerOptions as Options
from qedeploy.runtimes.runners import open_runner
from tests.bench.graphs import BRIEF, exported
from tests.export.networks import small_structure

STRUCTURE = small_structure()

PARTS = [
    "stem",
    *(
        f"stage{stage}.block{block}.{part}"
        for stage in (1, 2)
        for block in (1, 2)
        for part in ("expand", "depthwise", "project", "shortcut")
    ),
    "head",
    "classifier",
]

seconds = st.floats(1e-7, 1e-2)


def node(name: str, time: float = 1.0, op_type: str = "QLinearConv") -> NodeTime:
    return NodeTime(name=name, op_type=op_type, seconds=time)


def profile_of(*times: float) -> ProfiledRun:
    nodes = tuple(node(f"n{place}", time) for place, time in enumerate(times))
    return ProfiledRun(nodes=nodes, inside=sum(times), whole=sum(times), queries=10)


def test_what_the_profiler_adds_is_taken_from_all_nodes_alike():
    assert [item.seconds for item in without_overhead(profile_of(10.0, 5.0, 3.0), 15.0)] == pytest.approx(
        [9.0, 4.0, 2.0]
    )


def test_what_passes_between_nodes_is_given_to_all_alike():
    assert [item.seconds for item in without_overhead(profile_of(10.0, 5.0), 17.0)] == pytest.approx([11.0, 6.0])


def test_a_short_node_keeps_a_tenth_and_the_others_bear_the_rest():
    assert [item.seconds for item in without_overhead(profile_of(10.0, 10.0, 1.0), 15.1)] == pytest.approx(
        [7.5, 7.5, 0.1]
    )


def test_nothing_falls_below_a_tenth():
    assert [item.seconds for item in without_overhead(profile_of(10.0, 5.0), 0.3)] == pytest.approx([1.0, 0.5])


def test_a_profile_without_nodes_has_none():
    assert without_overhead(profile_of(), 1.0) == ()


@given(st.lists(seconds, min_size=1, max_size=40), st.floats(0.11, 3.0))
def test_the_nodes_sum_to_the_wall_time_in_their_order(times, share):
    profile = profile_of(*times)
    wall = share * sum(times)
    found = without_overhead(profile, wall)
    assert sum(item.seconds for item in found) == pytest.approx(wall)
    assert [item.name for item in found] == [item.name for item in profile.nodes]
    for after, before in zip(found, profile.nodes, strict=True):
        assert after.seconds >= before.seconds / 10 * (1 - 1e-9)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("stem_token_1", "stem"),
        ("stem.relu_nchwc", "stem"),
        ("stem.quantize", "stem"),
        ("stem.pack.channels_last", "stem"),
        ("stage1.block1.expand.unpack.reshape", "stem"),
        ("stage1.block1.expand.clip", "stage1.block1.expand"),
        ("stage1.block1.depthwise_token_10", "stage1.block1.depthwise"),
        ("stage1.block1.project.output.quantize", "stage1.block1.project"),
        ("stage1.block1.add_token_4", "stage1.block1.shortcut"),
        ("stage1.block1.add.relu", "stage1.block1.shortcut"),
        ("stage2.block1.shortcut_token_49", "stage2.block1.shortcut"),
        ("stage2.block1.shortcut.output.quantize", "stage2.block1.shortcut"),
        ("head.output.quantize", "head"),
        ("pool", "classifier"),
        ("pool_token_3", "classifier"),
        ("classifier.squeeze", "classifier"),
        ("logits", "classifier"),
        ("stage2.block1.expand.quantize + stage2.block1.expand.clip", "stage2.block1.expand"),
        (
            "Reformatting CopyNode for Input Tensor 0 to stage2.block1.project + x",
            "stage2.block1.project",
        ),
        ("stage2.block1.add + stage2.block1.add.relu", "stage2.block1.shortcut"),
    ],
)
def test_nodes_find_their_part(name, part):
    found = seconds_by_part([node(name)], structure_graph(STRUCTURE), NODE_NAMES)
    assert found == {**dict.fromkeys(PARTS, 0.0), part: 1.0}


def test_a_layout_change_without_a_name_counts_for_what_it_stands_at():
    nodes = [
        node("Transpose_token_1", 1.0, "Transpose"),
        node("stem_token_1", 10.0),
        node("Transpose_token_2", 100.0, "Transpose"),
        node("ReorderInput", 1000.0, "ReorderInput"),
        node("head", 10000.0),
    ]
    found = seconds_by_part(nodes, structure_graph(STRUCTURE), NODE_NAMES)
    assert (found["stem"], found["head"]) == (111.0, 11000.0)


def test_without_any_name_the_stem_has_it_all():
    assert seconds_by_part([node("Transpose_token_1", 2.0)], structure_graph(STRUCTURE), NODE_NAMES)["stem"] == 2.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*PARTS, "Transpose_token_1", "pool", "x", ""]),
            st.sampled_from(["QLinearConv", "ReorderInput"]),
            seconds,
        ),
        max_size=40,
    )
)
def test_no_time_is_lost(items):
    nodes = [node(name, time, kind) for name, kind, time in items]
    found = seconds_by_part(nodes, structure_graph(STRUCTURE), NODE_NAMES)
    assert list(found) == PARTS
    assert sum(found.values()) == pytest.approx(sum(item.seconds for item in nodes))


def test_the_parts_of_a_network_that_ran_are_all_there(tmp_path):
    structure = exported(tmp_path / "model.onnx")
    with open_runner(tmp_path / "model.onnx", Options()) as runner:
        profile = runner.profile(BRIEF)
    wall = 0.8 * sum(item.seconds for item in profile.nodes)
    found = seconds_by_part(without_overhead(profile, wall), structure_graph(structure), NODE_NAMES)
    assert sum(found.values()) == pytest.approx(wall)
    assert {layer.name for layer in expand_layers(structure)} <= set(found)
    assert min(found.values()) > 0
