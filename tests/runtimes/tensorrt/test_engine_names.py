"""The grammar of TensorRT's names, on names from public logs and on any that can be put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.runtimes.nvidia.engine_names import Region, names_nothing, parse_engine_name, without_profile


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("stem", ("stem",)),
        ("stem.weight.dequantize + stem + stem.relu", ("stem.weight.dequantize", "stem", "stem.relu")),
        ("Conv_0 + Relu_1 || Conv_4 + Relu_5", ("Conv_0", "Relu_1", "Conv_4", "Relu_5")),
        ("PWN(/act/Sigmoid)", ("/act/Sigmoid",)),
        ("PWN(PWN(/act/Sigmoid), /act/Mul)", ("/act/Sigmoid", "/act/Mul")),
        ("PWN(Relu_1, Clip_2) + Add_3", ("Relu_1", "Clip_2", "Add_3")),
        ("[ONNX Layer: a]\x1e[ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: a][ONNX Layer: b][ONNX Layer: a]", ("a", "b")),
        ("(Unnamed Layer* 34) [Shuffle]", ("(Unnamed Layer* 34) [Shuffle]",)),
        ("MatMul_2 + (Unnamed Layer* 3) [Shuffle]", ("MatMul_2", "(Unnamed Layer* 3) [Shuffle]")),
        ("{ForeignNode[a]}", ("a",)),
        ("a\x1fb", ("a", "b")),
        ("", ()),
        ("  ", ()),
    ],
)
def test_nodes_of_a_name(name, nodes):
    found = parse_engine_name(name)
    assert (found.nodes, found.regions, found.reformat, found.profile) == (nodes, (), False, 0)


@pytest.mark.parametrize(
    ("name", "nodes", "region"),
    [
        ("{ForeignNode[a...b]}", (), Region(first=("a",), last=("b",))),
        ("ForeignNode[a...b]", (), Region(first=("a",), last=("b",))),
        ("{ForeignNode[stem.weight...head]}", (), Region(first=("stem.weight",), last=("head",))),
        (
            "{ForeignNode[onnx::MatMul_12 + (Unnamed Layer* 34) [Shuffle].../head/Add]}", (),
            Region(first=("onnx::MatMul_12", "(Unnamed Layer* 34) [Shuffle]"), last=("/head/Add",)),
        ),
        ("{ForeignNode[a...b]} + c", ("c",), Region(first=("a",), last=("b",))),
        ("{ForeignNode[a...b]}_myl0_3", (), Region(first=("a",), last=("b",))),
        ("{ForeignNode[a...PWN(b, c)]}", (), Region(first=("a",), last=("b", "c"))),
        ("{ForeignNode[{ForeignNode[a...b]}...c]}", (), Region(first=("a", "b"), last=("c",))),
        ("{ForeignNode[a...{ForeignNode[b...c]}]}", (), Region(first=("a",), last=("b", "c"))),
        ("{ForeignNode[{ForeignNode[a...b]}]}", (), Region(first=("a",), last=("b",))),
        ("{ForeignNode[a...b...c]}", (), Region(first=("a", "a...b"), last=("c", "b...c"))),
        ("{ForeignNode[a(...b]}", (), Region(first=("a(",), last=("b",))),
    ],
)  # fmt: skip
def test_regions_of_a_name(name, nodes, region):
    found = parse_engine_name(name)
    assert (found.nodes, found.regions) == (nodes, (region,))
    assert set(found.mentioned) == {*nodes, *region.first, *region.last}


@pytest.mark.parametrize(
    ("name", "profile", "nodes"),
    [
        ("stem [profile 1]", 1, ("stem",)),
        ("stem + stem.relu [profile 12]", 12, ("stem", "stem.relu")),
        ("{ForeignNode[a...b]} [profile 2]", 2, ("a", "b")),
        ("stem [profile x]", 0, ("stem [profile x",)),
    ],
)
def test_the_optimisation_profile_is_no_part_of_the_name(name, profile, nodes):
    found = parse_engine_name(name)
    assert (found.profile, found.mentioned) == (profile, nodes)
    assert profile == 0 or "profile" not in without_profile(name)


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("Reformatting CopyNode for Input Tensor 0 to stem + stem.relu", ("stem", "stem.relu")),
        ("Reformatting CopyNode for Output Tensor 0 to head [profile 1]", ("head",)),
        ("Reformatting CopyNode for Network Input image", ("image",)),
    ],
)
def test_a_copy_is_told_from_what_it_copies_for(name, nodes):
    found = parse_engine_name(name)
    assert found.reformat
    assert found.nodes == nodes


def test_what_tensorrt_added_says_nothing_of_the_network():
    assert names_nothing("(Unnamed Layer* 3) [Shuffle]")
    assert names_nothing("__myl_ConvActAdd_myl0_12")
    assert not names_nothing("stage1.block1.expand")


NODE = st.from_regex(r"[A-Za-z_/:][\w/:.]{0,12}[\w]", fullmatch=True).filter(lambda text: "..." not in text)
ATOM = st.one_of(
    NODE.map(lambda name: (name, (name,))),
    st.lists(NODE, min_size=1, max_size=3).map(lambda names: (f"PWN({', '.join(names)})", tuple(names))),
    st.tuples(NODE, NODE).map(lambda ends: (f"{{ForeignNode[{ends[0]}...{ends[1]}]}}", ends)),
)


@given(st.lists(ATOM, min_size=1, max_size=5), st.sampled_from([" + ", " || "]), st.none() | st.integers(0, 9))
def test_every_name_that_can_be_put_together_comes_apart(atoms, separator, profile):
    name = separator.join(text for text, _ in atoms) + ("" if profile is None else f" [profile {profile}]")
    found = parse_engine_name(name)
    assert set(found.mentioned) == {node for _, nodes in atoms for node in nodes}
    assert found.profile == (profile or 0)


@given(st.text())
def test_any_text_is_some_name(text):
    found = parse_engine_name(text)
    assert all(node.strip() for node in found.mentioned)


@pytest.mark.parametrize(
    "text",
    [
        "PWN(" * 5000 + ")" * 5000,
        "{ForeignNode[" * 3000 + "]}" * 3000,
        "a + " * 20_000,
        "{ForeignNode[" + "..." * 20_000 + "]}",
        "{ForeignNode[a...a...a..." * 1000 + "]}" * 1000,
    ],
)
def test_deep_and_long_names_end(text):
    parse_engine_name(text)
