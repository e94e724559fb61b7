"""How large a network may be that is built, trained or exported: what would take hours or all memory is refused."""

from __future__ import annotations

import math

from qedeploy.errors import RequestError
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure

MAX_WEIGHTS = 200_000_000
"""Weights of a network: 800 MB in float32, sixty times MobileNetV2's."""

MAX_VALUES = 1 << 28
"""Values that a layer reads or makes for one image: 1 GiB in float32."""

MAX_MACS = 200_000_000_000
"""Multiply-accumulates for one image: minutes on a core."""


def require_computable(structure: Structure) -> None:
    """Raise RequestError, with the limit, for a network that is too large to build or to run once."""
    layers = expand_layers(structure)
    weights = sum(layer.weight_count for layer in layers)
    values = max(max(math.prod(layer.input), math.prod(layer.output)) for layer in layers)
    macs = sum(layer.macs for layer in layers)
    for found, limit, what in (
        (weights, MAX_WEIGHTS, "weights"),
        (values, MAX_VALUES, "values in one activation"),
        (macs, MAX_MACS, "multiply-accumulates for an image"),
    ):
        if found > limit:
            raise RequestError(
                f"expected a network with at most {limit:,} {what}, found {found:,}: use fewer channels or blocks, a "
                "smaller kernel or resolution"
            )
