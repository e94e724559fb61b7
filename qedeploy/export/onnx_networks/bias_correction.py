"""What rounding moves the mean of a layer's results by, channel by channel: its bias can take that back.

Rounded weights do not err evenly around zero in each channel, and neither does a clipped input, so that the results
of a layer in integers are off by a constant as well as by noise (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", 2019, section 4.2; here the means are those of the data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.export.onnx_networks.calibration import exposing
from qedeploy.export.onnx_networks.grids import ValueGrid, rounded_weight
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputMeans:
    """The mean of each input channel of a layer over the data, as it is and as its grid holds it."""

    exact: NDArray[np.float64]
    rounded: NDArray[np.float64]


def input_means(
    model: onnx.ModelProto,
    layers: Mapping[str, IntegerLayer],
    grids: Mapping[str, ValueGrid],
    feeds: Sequence[Feed],
) -> dict[str, InputMeans]:
    """Return the means of what each layer reads, as the float network makes it of `feeds`."""
    inputs = {item.name for item in model.graph.input}
    sources = sorted({layer.source for layer in layers.values()})
    axes = {layer.source: 1 if layer.operator == "Conv" else -1 for layer in layers.values()}
    made = [name for name in sources if name not in inputs]
    evaluate = reference().evaluator(exposing(model, made).SerializeToString(), False)
    sums: dict[str, NDArray[np.float64]] = {}
    for feed in feeds:
        values = {**evaluate(feed), **feed}
        for name in sources:
            array = np.moveaxis(values[name], axes[name], -1)
            flat = array.reshape(-1, array.shape[-1])
            both = np.stack([flat.mean(axis=0, dtype=np.float64), grids[name].rounded(flat).mean(axis=0)])
            sums[name] = sums.get(name, np.zeros_like(both)) + both / len(feeds)
    return {
        name: InputMeans(exact=sums[layer.source][0], rounded=sums[layer.source][1]) for name, layer in layers.items()
    }


def moved_means(layer: IntegerLayer, grid: ValueGrid, limit: int, means: InputMeans) -> NDArray[np.float64]:
    """Return by how much the results of each output channel are off in the mean, in units of the results.

    `grid` is that of the layer's input and `limit` the largest weight. What padding puts at the edges counts as the
    rest does.
    """
    integers, scales = rounded_weight(layer.weight, layer.axis, layer.bias, grid.scale, limit)
    shape = tuple(-1 if index == layer.axis else 1 for index in range(layer.weight.ndim))
    rounded = integers * scales.astype(np.float64).reshape(shape)
    return _product(layer, rounded, means.rounded) - _product(layer, layer.weight.astype(np.float64), means.exact)


def _product(layer: IntegerLayer, weight: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the layer makes of inputs that are `means` everywhere, without its bias."""
    by_channel = np.moveaxis(weight, layer.axis, 0).reshape(layer.channels, -1)
    if layer.operator != "Conv":
        return np.asarray(by_channel @ means, np.float64)
    # Each group of output channels reads its own input channels.
    taps = weight.sum(axis=(2, 3))
    groups = means.size // taps.shape[1]
    read = means.reshape(groups, -1).repeat(layer.channels // groups, axis=0)
    return np.asarray((taps * read).sum(axis=1), np.float64)
