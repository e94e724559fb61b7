"""Every microsecond has a place: by construction, for any profile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.bench.attribution.attribution import attribute, layer_of
from qedeploy.runtimes.node_names import Overhead
from qedeploy.runtimes.onnxruntime.node_names import NODE_NAMES
from qedeploy.runtimes.runner import NodeTime, ProfiledRun

LAYERS = ("stem", "stage1.block1.expand", "stage1.block1.depthwise", "stage1.block1.project", "head", "classifier")
OPERATORS = (
    "QLinearConv",
    "Conv",
    "QGemm",
    "Transpose",
    "QuantizeLinear",
    "Clip",
    "QLinearAdd",
    "MaxPool",
    "Relu",
    "Erf",
)

times = st.floats(0.0, 1.0)
nodes = st.lists(
    st.builds(
        NodeTime,
        name=st.sampled_from([*LAYERS, "stem_token_12", "stage1.block1.add", "pool", "", "Transpose_token_3"]),
        op_type=st.sampled_from(OPERATORS),
        seconds=times,
    ),
    max_size=30,
).map(tuple)


def profile_of(
    found: tuple[NodeTime, ...], between: float = 0.1, call: float = 0.05, interrupted: float = 0.0
) -> ProfiledRun:
    inside = sum(node.seconds for node in found) + between
    return ProfiledRun(
        nodes=found,
        inside=inside,
        whole=inside + call + interrupted,
        queries=10,
        interrupted=interrupted,
        names=NODE_NAMES,
    )


@given(nodes, times, times, times, st.booleans())
def test_the_parts_sum_to_the_whole(found, between, call, interrupted, known):
    profile = profile_of(found, between, call + 1e-6, interrupted)
    result = attribute(profile, LAYERS if known else None)
    assert result.total == pytest.approx(profile.whole, abs=1e-9)
    shares = [part.share or 0.0 for part in result.layers] + [part.share for part in result.overheads]
    assert sum(shares) == pytest.approx(1.0)
    counted = sum(len(part.nodes) for part in result.layers) + sum(len(part.nodes) for part in result.overheads)
    assert counted == len(found)


@pytest.mark.parametrize(
    ("name", "operator", "owner"),
    [
        ("stem_token_2", "QLinearConv", "stem"),
        ("stem.relu_nchwc", "Conv", "stem"),
        ("stage1.block1.depthwise_token_12", "QLinearConv", "stage1.block1.depthwise"),
        ("stage1.block1.project_nchwc", "Conv", "stage1.block1.project"),
        ("classifier_token_9", "QGemm", "classifier"),
        ("stem.quantize", "QuantizeLinear", Overhead.QUANTIZATION),
        ("stage1.block1.depthwise.clip", "Clip", Overhead.CLIP),
        ("Transpose_token_22", "Transpose", Overhead.LAYOUT),
        ("ReorderOutput", "ReorderOutput", Overhead.LAYOUT),
        ("stage1.block1.add_token_4", "QLinearAdd", Overhead.ADD),
        ("stage1.block1.shortcut_token_7", "QLinearConv", Overhead.POOLING),
        ("pool_token_3", "QLinearGlobalAveragePool", Overhead.POOLING),
        ("stage1.block1.expand.relu", "Relu", Overhead.ACTIVATION),
        ("somebody.elses", "Softmax", Overhead.OTHER),
    ],
)
def test_nodes_find_their_owner(name, operator, owner):
    result = attribute(profile_of((NodeTime(name=name, op_type=operator, seconds=0.5),)), LAYERS)
    found = [part.name for part in result.layers if part.nodes]
    found += [part.name for part in result.overheads if part.nodes]
    assert found == [owner]


def test_layers_keep_their_order_and_have_a_place_without_a_node():
    result = attribute(profile_of((NodeTime(name="head", op_type="Conv", seconds=0.5),)), LAYERS)
    assert tuple(part.name for part in result.layers) == LAYERS
    assert result.layers[0].seconds is None


def together(*names: str, seconds: float = 0.5) -> NodeTime:
    return NodeTime(name="region", op_type="Myelin", seconds=seconds, layers=names)


def test_layers_that_run_together_are_a_row_of_their_own():
    found = (together(*LAYERS[1:3]), NodeTime(name=LAYERS[0], op_type="Conv", seconds=0.25))
    result = attribute(profile_of(found), LAYERS)
    rows = [(part.seconds, part.layers) for part in result.layers]
    assert rows == [(0.25, ()), (0.5, LAYERS[1:3]), *[(None, ())] * (len(LAYERS) - 1)]
    assert result.total == pytest.approx(result.whole)


def test_groups_that_share_a_layer_are_one():
    own = NodeTime(name=LAYERS[1], op_type="Conv", seconds=0.125)
    result = attribute(profile_of((together(*LAYERS[:2]), together(*LAYERS[1:3]), own)), LAYERS)
    assert [(part.seconds, part.layers) for part in result.layers if part.seconds] == [(1.125, LAYERS[:3])]


def test_without_layers_nodes_stand_for_themselves():
    found = (
        NodeTime(name="a", op_type="Relu", seconds=0.5),
        NodeTime(name="b", op_type="Transpose", seconds=0.5),
        NodeTime(name="c", op_type="Add", seconds=0.5),
    )
    result = attribute(profile_of(found), None)
    assert [part.name for part in result.layers] == ["a", "c"]


def test_a_layer_is_not_found_in_the_middle_of_a_name():
    assert layer_of("stemming", LAYERS) is None
    assert layer_of("stage1.block1", LAYERS) is None
