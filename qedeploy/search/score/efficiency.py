"""The reference's efficient_score: how deep a network is for its width, which DeepMAD (arXiv 2303.02165) limits."""

from __future__ import annotations

import math

from qedeploy.network.layers import Position, expand_layers
from qedeploy.network.structure import Structure
from qedeploy.search.score.kinds.qe_score import score_stages


def efficient_score(structure: Structure) -> float:
    """Return the largest depth / (geometric mean width) that any score stage ends with.

    Depth is the convolutions so far, width the product of C_in k^2 over them (C_in is 1 for a depthwise one), and its
    mean is over the convolutions: exp(ln L - ln(width) / L).
    """
    strides = (structure.stem.stride, *(stage.stride for stage in structure.stages), structure.head.stride)
    ends = set(score_stages(strides))
    found, depth, log_width, block = 0.0, 0, 0.0, 0
    layers = [layer for layer in expand_layers(structure) if layer.position is not Position.CLASSIFIER]
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        depth += 1
        log_width += math.log(layer.in_channels // layer.groups * layer.kernel**2)
        if following is not None and _stage(following.name) == _stage(layer.name):
            continue
        if block in ends:
            found = max(found, math.exp(math.log(depth) - log_width / depth))
        block += 1
    return found


def _stage(name: str) -> str:
    return name.partition(".")[0]
