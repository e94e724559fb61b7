"""MobileNetV2's blocks in a Structure: no expand layer, linear bottlenecks, ReLU6."""

from __future__ import annotations

import dataclasses

import pytest

from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks, to_blocks
from qedeploy.network.structure import (
    Activation,
    Bits,
    Block,
    Convolution,
    Stage,
    Structure,
    StructureError,
)
from qedeploy.network.structure_file import from_document, to_document

W8A8 = Bits(weight=8, activation=8)


def small(*, channels: int = 16, expand: Bits | None = None, bottleneck: int = 16, **fields: object) -> Structure:
    stages = (
        Stage(
            out_channels=channels,
            bottleneck_channels=bottleneck,
            kernel=3,
            stride=1,
            blocks=(Block(expand=expand, depthwise=W8A8, project=W8A8),),
        ),
    )
    return Structure(
        stem=Convolution(out_channels=16, kernel=3, stride=2, bits=W8A8),
        stages=stages,
        head=Convolution(out_channels=32, kernel=1, stride=1, bits=W8A8),
        resolution=32,
        **fields,
    )


def test_a_block_without_expand_has_two_layers():
    names = [layer.name for layer in expand_layers(small())]
    assert names == ["stem", "stage1.block1.depthwise", "stage1.block1.project", "head", "classifier"]
    assert structure_costs(small()).layers == 4


def test_a_block_without_expand_reads_as_many_channels_as_its_bottleneck_has():
    with pytest.raises(StructureError, match=r"stages\[0\]: blocks\[0\]: .* reads, 16, found 24"):
        small(bottleneck=24)


def test_a_linear_bottleneck_has_nothing_behind_its_project_layer():
    layers = {layer.name: layer for layer in expand_layers(small(linear_bottlenecks=True, activation=Activation.RELU6))}
    assert layers["stage1.block1.project"].activation is None
    assert layers["stage1.block1.depthwise"].activation is Activation.RELU6
    assert layers["head"].activation is Activation.RELU6
    assert layers["classifier"].activation is None


def test_a_linear_bottleneck_saves_the_flops_of_its_activation():
    difference = structure_costs(small()).flops - structure_costs(small(linear_bottlenecks=True)).flops
    assert difference == 16 * 16 * 16


@pytest.mark.parametrize(
    "structure",
    [small(), small(linear_bottlenecks=True, activation=Activation.RELU6), small(expand=W8A8, bottleneck=48)],
)
def test_documents_hold_every_form(structure):
    assert from_document(to_document(structure), "test") == structure


def test_documents_of_the_usual_form_are_unchanged(golden):
    for record in golden[:20]:
        document = to_document(from_blocks(record["structure"]))
        assert set(document) == {"format", "stem", "stages", "head", "classifier", "resolution", "input_channels"}


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (small(), "without an expand layer"),
        (small(expand=W8A8, linear_bottlenecks=True), "linear bottlenecks"),
        (small(expand=W8A8, activation=Activation.RELU6), "relu6"),
    ],
)
def test_lightnas_text_refuses_what_it_cannot_hold(structure, reason):
    with pytest.raises(StructureError, match=reason):
        to_blocks(structure)


def test_the_shortcut_of_a_block_without_expand_is_kept_while_its_depthwise_runs():
    with_shortcut = structure_costs(small())
    without = structure_costs(dataclasses.replace(small(channels=24)))
    area = 16 * 16
    assert with_shortcut.peak_memory_bytes >= area * 16 + area + area * 16
    assert with_shortcut.layers == without.layers
