"""A Structure as a PyTorch network: its blocks, put together under the names that every room uses."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qedeploy.errors import UserError
from qedeploy.model.layers import QuantizedConvolution, QuantizedLinear, activate
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.network.layers import Layer, expand_layers
from qedeploy.network.limits import require_computable
from qedeploy.network.structure import Structure

QuantizedLayer = QuantizedConvolution | QuantizedLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePoint:
    """A value of the network that a device rounds and no layer's quantizer does, by its name among the operations."""

    value: str
    bits: int
    signed: bool


class QuantizedBlock(nn.Module):
    """An inverted bottleneck: `expand`, `depthwise`, `project`, and the input added where the channels allow it.

    `expand` is None where the depthwise layer reads the block's input itself. `residual` says that the input is added
    before the block's `activation`, `pooled` that it is average-pooled first because the block's `stride` is 2.

    The shortcut reads the block's input as it is, or with `rounded_shortcut` on the grid of the layer that reads it
    too, as devices do. `shortcut_quantizer` and `sum_quantizer` round the pooled shortcut and the sum where one must.
    """

    def __init__(self, layers: tuple[Layer, ...], signed: Collection[str]) -> None:
        """Make the modules of a block's two or three `layers`; `signed` names those whose input is signed."""
        super().__init__()
        first, depthwise, project = layers[0], layers[-2], layers[-1]
        self.rounded_shortcut = False
        self.shortcut_quantizer: LsqQuantizer | None = None
        self.sum_quantizer: LsqQuantizer | None = None
        self.residual = project.residual
        self.pooled = project.pooled
        self.stride = depthwise.stride
        self.activation = project.activation
        self.expand = _convolution(first, signed) if len(layers) == 3 else None
        self.depthwise = _convolution(depthwise, signed)
        self.project = QuantizedConvolution(
            project, signed=project.name in signed, activation=None if self.residual else project.activation
        )

    def forward(self, features: Tensor, *, reader: LsqQuantizer | None = None) -> Tensor:
        """Return (batch, out, ceil(height / stride), ceil(width / stride)) for `features` (batch, in, ...).

        `reader` is the quantizer that alone reads what the block puts out, which may do what its ReLU does.
        """
        if self.rounded_shortcut:
            features = self.first.activation_quantizer(features)
        second = self.project if self.expand is None else self.depthwise
        inner = self.first(features, rounded=self.rounded_shortcut, reader=second.activation_quantizer)
        if self.expand is not None:
            inner = self.depthwise(inner, reader=self.project.activation_quantizer)
        outputs: Tensor = self.project(inner, reader=None if self.residual else reader)
        if not self.residual:
            return outputs
        added = activate(outputs + self._shortcut(features), self.activation, self.sum_quantizer or reader)
        return added if self.sum_quantizer is None else self.sum_quantizer(added)

    @property
    def only_reader(self) -> LsqQuantizer | None:
        """The quantizer that alone reads the block's input; None where the shortcut reads it as well, not rounded."""
        return None if self.residual and not self.rounded_shortcut else self.first.activation_quantizer

    @property
    def first(self) -> QuantizedConvolution:
        """The layer that reads the block's input."""
        return self.depthwise if self.expand is None else self.expand

    def _shortcut(self, features: Tensor) -> Tensor:
        if self.pooled:
            # An odd size becomes ceil(size / 2) behind the depthwise layer, so the pooling must round up as well; its
            # last window is then cut short, and only what lies inside may count, or that edge would fade.
            features = functional.avg_pool2d(features, kernel_size=2, stride=2, ceil_mode=True, count_include_pad=False)
        return features if self.shortcut_quantizer is None else self.shortcut_quantizer(features)


class QuantizedNetwork(nn.Module):
    """A network of `structure` whose submodules carry the layers' names (`stage3.block1.depthwise`).

    Weights are unset: `qedeploy.model.build.build` initialises them, `load_checkpoint` fills in trained ones.
    `device_points` is None until `use_device_grids` made the network round where a device does.
    """

    stem: QuantizedConvolution
    head: QuantizedConvolution
    classifier: QuantizedLinear

    def __init__(self, structure: Structure, *, signed_activations: Collection[str]) -> None:
        """Make the modules; `signed_activations` names the layers whose input is quantized to signed integers.

        Raises RequestError, naming the layer, for a width that cannot be trained (a single bit), and for a network that
        is too large.
        """
        super().__init__()
        require_computable(structure)
        self.structure = structure
        self.device_points: tuple[DevicePoint, ...] | None = None
        layers = expand_layers(structure)
        signed = frozenset(signed_activations)
        self.stem = _convolution(layers[0], signed)
        stages: dict[str, OrderedDict[str, nn.Module]] = {}
        for name, members in itertools.groupby(layers[1:-2], key=lambda layer: layer.block):
            stage, block = name.split(".")
            stages.setdefault(stage, OrderedDict())[block] = QuantizedBlock(tuple(members), signed)
        self.stage_names = tuple(stages)
        for stage, blocks in stages.items():
            self.add_module(stage, nn.Sequential(blocks))
        self.head = _convolution(layers[-2], signed)
        self.classifier = QuantizedLinear(layers[-1], signed=layers[-1].name in signed)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) for `images`, float (batch, channels, height, width), normalised.

        Other sizes than the structure's resolution work too; only its costs are counted for that one.
        """
        blocks = [block for name in self.stage_names for block in self.get_submodule(name)]  # type: ignore[attr-defined]
        readers = [*(block.only_reader for block in blocks), self.head.activation_quantizer]
        features = self.stem(images, reader=readers[0])
        for block, reader in zip(blocks, readers[1:], strict=True):
            features = block(features, reader=reader)
        features = self.head(features)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def use_device_grids(network: QuantizedNetwork, points: Iterable[DevicePoint]) -> None:
    """Make `network` round what a device rounds: shortcuts on the grid of the layer beside them, and `points`.

    Quantizers of points that were there before keep their steps where width and sign are the same. Raises UserError for
    a value that the network does not have.
    """
    wanted = tuple(points)
    known = point_quantizers(network)
    for value in known:
        _set_point(network, value, None)
    for point in wanted:
        quantizer = known.get(point.value)
        if quantizer is None or (quantizer.bits, quantizer.signed) != (point.bits, point.signed):
            quantizer = LsqQuantizer(point.bits, signed=point.signed).to(network.classifier.weight.device)
            quantizer.train(network.training)
        _set_point(network, point.value, quantizer)
    for module in network.modules():
        if isinstance(module, QuantizedBlock):
            module.rounded_shortcut = True
    network.device_points = wanted


def point_quantizers(network: QuantizedNetwork) -> dict[str, LsqQuantizer]:
    """Return the quantizers of the network's device points by the value that each rounds."""
    found = {}
    for point in network.device_points or ():
        module, attribute = _point_place(network, point.value)
        found[point.value] = getattr(module, attribute)
    return found


def _set_point(network: QuantizedNetwork, value: str, quantizer: LsqQuantizer | None) -> None:
    module, attribute = _point_place(network, value)
    setattr(module, attribute, quantizer)


def _point_place(network: QuantizedNetwork, value: str) -> tuple[nn.Module, str]:
    """Return the module that makes a value, and the name of the quantizer behind it."""
    block, _, last = value.rpartition(".")
    attribute = {"shortcut": "shortcut_quantizer", "add": "sum_quantizer"}.get(last, "output_quantizer")
    try:
        module = network.get_submodule(value if attribute == "output_quantizer" else block)
    except AttributeError:
        module = None
    kind = QuantizedConvolution if attribute == "output_quantizer" else QuantizedBlock
    if not isinstance(module, kind):
        raise UserError(f"no value {value!r} of the network can be rounded on its own: it has other layers")
    return module, attribute


def layer_modules(network: QuantizedNetwork) -> dict[str, QuantizedLayer]:
    """Return the layers of `network` by name, in the order of `expand_layers`."""
    return {layer.name: _layer_module(network, layer.name) for layer in expand_layers(network.structure)}


def quantizers(network: nn.Module) -> Iterator[tuple[str, LsqQuantizer]]:
    """Yield every quantizer of `network` that quantizes, with its name (`stem.activation_quantizer`)."""
    for name, module in network.named_modules():
        if isinstance(module, LsqQuantizer) and module.quantized:
            yield name, module


def signed_activations(network: QuantizedNetwork) -> tuple[str, ...]:
    """Return the names of the layers whose input is quantized to signed integers, in execution order."""
    return tuple(name for name, layer in layer_modules(network).items() if layer.activation_quantizer.signed)


@torch.no_grad()
def initialize_steps(network: nn.Module, images: Tensor) -> None:
    """Set the activation steps that were never trained from `images`, float (batch, channels, height, width).

    Training does this with its first batch. Call it before evaluating an untrained network, and before wrapping one in
    DistributedDataParallel, whose processes would each set their own. The network's mode and statistics stay.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for _, quantizer in quantizers(network):
        quantizer.train()
    try:
        network(images)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _layer_module(network: QuantizedNetwork, name: str) -> QuantizedLayer:
    module = network.get_submodule(name)
    assert isinstance(module, QuantizedConvolution | QuantizedLinear)
    return module


def _convolution(layer: Layer, signed: Collection[str]) -> QuantizedConvolution:
    return QuantizedConvolution(layer, signed=layer.name in signed, activation=layer.activation)
