"""Structures small enough to train in seconds, with every kind of block."""

from __future__ import annotations

from qedeploy.network.structure import Activation, Bits, Block, Classifier, Convolution, Stage, Structure

EDGE = Bits(weight=8, activation=8)


def tiny_structure(
    bits: Bits = Bits(weight=4, activation=4),
    *,
    resolution: int = 16,
    channels: int = 16,
    edge: Bits = EDGE,
    activation: Activation = Activation.RELU,
    linear: bool = False,
    expand: bool = True,
    classes: int = 10,
) -> Structure:
    """A stem, a stage that changes the channels, a stage with a pooled shortcut and one plain residual."""
    bottleneck = 2 * channels
    block = Block.uniform(bits)
    bare = Block(expand=None, depthwise=bits, project=bits)
    first = Stage(
        out_channels=channels,
        bottleneck_channels=bottleneck if expand else channels // 2,
        kernel=3,
        stride=1,
        blocks=(block if expand else bare,),
    )
    second = Stage(out_channels=channels, bottleneck_channels=bottleneck, kernel=5, stride=2, blocks=(block, block))
    return Structure(
        stem=Convolution(out_channels=channels // 2, kernel=3, stride=2, bits=edge),
        stages=(first, second),
        head=Convolution(out_channels=2 * bottleneck, kernel=1, stride=1, bits=bits),
        classifier=Classifier(classes=classes, bits=edge),
        resolution=resolution,
        activation=activation,
        linear_bottlenecks=linear,
    )
