"""The two kinds of layers that carry weights: a convolution with its batch normalisation, and the classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from qedeploy.errors import RequestError
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.network.layers import Layer
from qedeploy.network.structure import Activation


def activate(features: Tensor, activation: Activation | None, reader: LsqQuantizer | None = None) -> Tensor:
    """Return `features` behind `activation`, the same where it is None.

    `reader` is the quantizer that alone reads them: where that does what a ReLU does, both ways, it is left to it.
    """
    if activation is Activation.RELU and reader is not None and reader.clips_negative:
        return features
    match activation:
        case None:
            return features
        case Activation.RELU:
            return functional.relu(features)
        case Activation.RELU6:
            return functional.relu6(features)


class QuantizedConvolution(nn.Module):
    """Quantize input and weights, convolve without bias, normalise the batch, apply `activation` unless it is None.

    The padding is half the kernel, so that a stride of 2 halves sizes rounding up. `weight` has the shape
    (out, in / groups, kernel, kernel). `output_quantizer` rounds what the layer puts out where the device does.
    """

    def __init__(self, layer: Layer, *, signed: bool, activation: Activation | None) -> None:
        """Make the layer with weights unset; `signed` says whether its input can be negative."""
        super().__init__()
        self.name = layer.name
        self.kernel = layer.kernel
        self.stride = layer.stride
        self.padding = layer.kernel // 2
        self.groups = layer.groups
        self.activation = activation
        shape = (layer.out_channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bn = nn.BatchNorm2d(layer.out_channels)
        self.weight_quantizer, self.activation_quantizer = _quantizers(layer, signed, (layer.out_channels, 1, 1, 1))
        self.output_quantizer: LsqQuantizer | None = None

    def forward(self, features: Tensor, *, rounded: bool = False, reader: LsqQuantizer | None = None) -> Tensor:
        """Return (batch, out, ceil(height / stride), ceil(width / stride)) for `features` (batch, in, ...).

        `rounded` says that the activation quantizer has rounded them already. `reader` is the quantizer that alone
        reads what the layer puts out, which may do what a ReLU does.
        """
        quantized = features if rounded else self.activation_quantizer(features)
        weight = self.weight_quantizer(self.weight)
        convolved = functional.conv2d(quantized, weight, None, self.stride, self.padding, groups=self.groups)
        outputs = activate(self.bn(convolved), self.activation, self.output_quantizer or reader)
        return outputs if self.output_quantizer is None else self.output_quantizer(outputs)

    def extra_repr(self) -> str:
        """Return what `print(network)` shows."""
        out_channels, in_channels = self.weight.shape[:2]
        return (
            f"{in_channels * self.groups}, {out_channels}, kernel={self.kernel}, stride={self.stride}, "
            f"groups={self.groups}, activation={self.activation}"
        )


class QuantizedLinear(nn.Module):
    """Quantize input and weights, multiply, add a bias that stays floating point. `weight` has shape (out, in)."""

    def __init__(self, layer: Layer, *, signed: bool) -> None:
        """Make the layer with weights unset; `signed` says whether its input can be negative."""
        super().__init__()
        self.name = layer.name
        self.weight = nn.Parameter(torch.empty(layer.out_channels, layer.in_channels))
        self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        self.weight_quantizer, self.activation_quantizer = _quantizers(layer, signed, (layer.out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return (batch, out) for `features` (batch, in)."""
        return functional.linear(self.activation_quantizer(features), self.weight_quantizer(self.weight), self.bias)

    def extra_repr(self) -> str:
        """Return what `print(network)` shows."""
        out_channels, in_channels = self.weight.shape
        return f"{in_channels}, {out_channels}"


def _quantizers(layer: Layer, signed: bool, weight_step_shape: tuple[int, ...]) -> tuple[LsqQuantizer, LsqQuantizer]:
    try:
        weight = LsqQuantizer(layer.bits.weight, signed=True, step_shape=weight_step_shape)
        return weight, LsqQuantizer(layer.bits.activation, signed=signed)
    except RequestError as error:
        raise RequestError(f"{layer.name}: {error}") from error
