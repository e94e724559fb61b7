"""The parts of a structure, counted by hand."""

from __future__ import annotations

from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Part
from qedeploy.network.graph import structure_graph
from qedeploy.network.published import find_published
from tests.latency.test_predictor import structure


def test_every_layer_and_every_shortcut_is_a_part():
    shapes = shapes_of(structure_graph(structure(stem=24)), 16)
    parts = [shape.part for shape in shapes.values()]
    assert parts.count(Part.POINTWISE) == 20
    assert parts.count(Part.DEPTHWISE) == 10
    assert [name for name, shape in shapes.items() if shape.part is Part.SHORTCUT] == [
        "stage1.block1.shortcut", "stage1.block2.shortcut", "stage2.block2.shortcut", "stage3.block2.shortcut",
        "stage4.block1.shortcut", "stage4.block2.shortcut",
        "stage5.block2.shortcut",
    ]  # fmt: skip
    pooled = shapes["stage1.block1.shortcut"]
    assert (pooled.in_channels, pooled.out_channels, pooled.stride, pooled.size) == (24, 24, 2, 56)
    assert shapes["stage1.block2.shortcut"].stride == 1
    assert (shapes["classifier"].in_channels, shapes["classifier"].size) == (1280, 7)


def test_only_what_lies_inside_a_block_is_padded():
    shapes = shapes_of(structure_graph(structure(widths=(24, 40, 56, 56, 64), ratio=3)), 16)
    assert (shapes["stage1.block1.expand"].in_channels, shapes["stage1.block1.expand"].out_channels) == (16, 80)
    assert shapes["stage1.block1.depthwise"].in_channels == 80
    assert (shapes["stage1.block1.project"].in_channels, shapes["stage1.block1.project"].out_channels) == (80, 24)
    # Where nothing expands, the channels are those of the block's input, which nobody pads.
    first = shapes_of(structure_graph(find_published("mbv2-8bit").structure), 24)["stage1.block1.depthwise"]
    assert (first.in_channels, first.out_channels) == (32, 32)
