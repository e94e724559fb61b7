"""The parts of a structure as a latency table knows them."""

from __future__ import annotations

from qedeploy.latency.table import Part, Shape
from qedeploy.network.layers import Layer, expand_layers, expanded_blocks, round_up
from qedeploy.network.structure import Structure


def shapes_of(structure: Structure, bottleneck_multiple: int) -> dict[str, Shape]:
    """Return the shape of every part by its name: a layer's, or `<block>.shortcut` of a residual block.

    Channels between the layers of a block are padded to `bottleneck_multiple`, as the table's dialect pads them.
    """
    *layers, classifier = expand_layers(structure)
    found: dict[str, Shape] = {}
    expanded = expanded_blocks(layers)
    for layer in layers:
        multiple = bottleneck_multiple if layer.block in expanded else 1
        found[layer.name] = _layer_shape(layer, multiple)
        if layer.residual and layer.name.endswith(".project"):
            found[f"{layer.block}.{Part.SHORTCUT}"] = Shape(
                part=Part.SHORTCUT,
                in_channels=layer.out_channels,
                out_channels=layer.out_channels,
                kernel=1,
                stride=2 if layer.pooled else 1,
                size=layer.output_size,
                bits=layer.bits,
            )
    found[classifier.name] = Shape(
        part=Part.CLASSIFIER,
        in_channels=classifier.in_channels,
        out_channels=classifier.out_channels,
        kernel=1,
        stride=1,
        size=layers[-1].output_size,
        bits=classifier.bits,
    )
    return found


def _layer_shape(layer: Layer, multiple: int) -> Shape:
    role = layer.name.rpartition(".")[2]
    inside_in, inside_out = role in {"depthwise", "project"}, role in {"expand", "depthwise"}
    return Shape(
        part=Part(layer.category.value),
        in_channels=round_up(layer.in_channels, multiple if inside_in else 1),
        out_channels=round_up(layer.out_channels, multiple if inside_out else 1),
        kernel=layer.kernel,
        stride=layer.stride,
        size=layer.input_size,
        bits=layer.bits,
    )
