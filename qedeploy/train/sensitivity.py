"""What rounding each layer's weights or inputs to each width costs in loss, from a backward pass over some pictures.

The cost is the Kullback-Leibler divergence of the classes said from those of the float network, to the second order:
half the mean square of the inner product of the rounding error and the gradient of the log-likelihood of a class that
the network itself draws (its Fisher information in that direction). No label is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from qedeploy.model.build import reads_signed
from qedeploy.model.layers import QuantizedConvolution
from qedeploy.model.network import QuantizedLayer, QuantizedNetwork, layer_modules
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.network.structure import MAX_BITS, Bits
from qedeploy.qdq.calibration import Wanted, best_step
from qedeploy.train.quantization import best_weight_steps, quantization_bypassed
from qedeploy.train.weights import with_bits

_BATCH = 16
_STEP_IMAGES = 32
"""Pictures that the steps of inputs are chosen on."""


class Side(StrEnum):
    """What of a layer is rounded."""

    WEIGHT = "weight"
    ACTIVATION = "activation"


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthError:
    """What one side of a layer at `bits` costs: the mean over the pictures, in nats, and its standard error."""

    layer: str
    side: Side
    bits: int
    error: float
    spread: float


Widths = Mapping[str, Iterable[Bits]]
"""The pairs that each layer may have, by the layer's name."""


def width_errors(
    network: QuantizedNetwork,
    images: Tensor,
    widths: Widths,
    *,
    unsigned_activation_bits: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[WidthError, ...]:
    """Return the cost of every width in `widths` of each side; 16 bits cost nothing and are left out.

    `images` are (count, channels, height, width), normalised. Steps are those of least squared error. The network's
    weights, steps and mode stay.
    """
    modules = layer_modules(network)
    sides = {
        (name, side, bits)
        for name, pairs in widths.items()
        for pair in pairs
        for side, bits in ((Side.WEIGHT, pair.weight), (Side.ACTIVATION, pair.activation))
        if bits < MAX_BITS
    }
    was_training, grads = network.training, [(one, one.requires_grad) for one in network.parameters()]
    network.eval().requires_grad_(False)
    try:
        with quantization_bypassed(network):
            rounding = _Rounding(network, sides, images[:_STEP_IMAGES], unsigned_activation_bits)
            found = _squares(network, modules, rounding, images, seed, progress)
    finally:
        network.train(was_training)
        for parameter, required in grads:
            parameter.requires_grad_(required)
    return tuple(
        _width_error(key, torch.cat(found[key]) / 2)
        for key in sorted(sides, key=lambda key: (list(modules).index(key[0]), key[1], key[2]))
    )


_Key = tuple[str, Side, int]


class _Rounding:
    """The errors of rounding: of weights as tensors, of inputs as functions of them."""

    def __init__(
        self, network: QuantizedNetwork, sides: Iterable[_Key], images: Tensor, unsigned_activation_bits: int
    ) -> None:
        modules = layer_modules(network)
        self.weights: dict[str, list[tuple[_Key, Tensor]]] = {name: [] for name in modules}
        self._quantizers: dict[str, list[tuple[_Key, LsqQuantizer]]] = {name: [] for name in modules}
        signed: dict[int, frozenset[str]] = {}
        for key in sorted(sides):
            name, side, bits = key
            if side is Side.WEIGHT:
                self.weights[name].append((key, _weight_error(modules[name], bits)))
                continue
            if bits not in signed:
                pairs = dict.fromkeys(modules, Bits(weight=8, activation=bits))
                signed[bits] = reads_signed(with_bits(network.structure, pairs), unsigned_activation_bits)
            self._quantizers[name].append((key, LsqQuantizer(bits, signed=name in signed[bits]).eval()))
        with ExitStack() as stack, torch.no_grad():
            for name, module in modules.items():
                handle = module.activation_quantizer.register_forward_pre_hook(self._chooser(name))
                stack.callback(handle.remove)
            network(images)

    def inputs(self, name: str, values: Tensor) -> list[tuple[_Key, Tensor]]:
        """Return the error of each width of the input of a layer."""
        return [(key, quantizer(values) - values) for key, quantizer in self._quantizers[name]]

    def _chooser(self, name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def choose(_: Any, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].detach().to("cpu", torch.float32)
            nonnegative = bool(values.min() >= 0)
            for _key, quantizer in self._quantizers[name]:
                wanted = Wanted(bits=quantizer.bits, signed=quantizer.signed, nonnegative=nonnegative)
                quantizer.set_step(best_step(values, wanted))

        return choose


def _weight_error(module: QuantizedLayer, bits: int) -> Tensor:
    weight = module.weight.detach()
    shape = tuple(len(weight) if axis == 0 else 1 for axis in range(weight.dim()))
    quantizer = LsqQuantizer(bits, signed=True, step_shape=shape).eval()
    quantizer.set_step(best_weight_steps(weight, quantizer))
    error: Tensor = (quantizer(weight) - weight).detach()
    return error


def _squares(
    network: QuantizedNetwork,
    modules: Mapping[str, QuantizedLayer],
    rounding: _Rounding,
    images: Tensor,
    seed: int,
    progress: Callable[[int, int], None],
) -> dict[_Key, list[Tensor]]:
    """Return for every key the squared inner products of error and gradient, (batch,) for each batch of pictures."""
    found: dict[_Key, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(seed)

    def note(key: _Key, gradient: Tensor, error: Tensor) -> None:
        product = (gradient * error).flatten(1).to(torch.float64).sum(dim=1)
        found.setdefault(key, []).append(product.square())

    with ExitStack() as stack:
        for name, module in modules.items():
            for handle in _observe(name, module, rounding, note):
                stack.callback(handle.remove)
        for first in range(0, len(images), _BATCH):
            batch = images[first : first + _BATCH].detach().requires_grad_(True)
            likelihoods = functional.log_softmax(network(batch), dim=1)
            drawn = torch.multinomial(likelihoods.detach().exp(), 1, generator=generator)
            torch.autograd.backward(likelihoods.gather(1, drawn).sum())
            progress(min(first + _BATCH, len(images)), len(images))
    return found


def _observe(name: str, module: QuantizedLayer, rounding: _Rounding, note: Callable[..., None]) -> list[Any]:
    """Let `note` see the gradients of a layer's input and of its product, each with the errors of rounding."""
    read: dict[str, Tensor] = {}

    def on_input(_: Any, __: Any, output: Tensor) -> Tensor:
        # A value of its own: what else reads the same numbers, a shortcut, has gradients of its own too.
        values = output.view_as(output)
        read["values"] = values.detach()
        _on_gradient(values, lambda gradient: _each(note, gradient, rounding.inputs(name, read["values"])))
        return values

    def on_product(product: Tensor) -> Tensor:
        made = product.view_as(product)
        _on_gradient(
            made,
            lambda gradient: _each(
                note,
                gradient,
                ((key, _multiplied(module, read["values"], error)) for key, error in rounding.weights[name]),
            ),
        )
        return made

    handle = module.activation_quantizer.register_forward_hook(on_input)
    if isinstance(module, QuantizedConvolution):
        return [handle, module.bn.register_forward_pre_hook(lambda _, inputs: (on_product(inputs[0]),))]
    return [handle, module.register_forward_hook(lambda _, __, output: on_product(output))]


def _on_gradient(value: Tensor, hook: Callable[[Tensor], None]) -> None:
    value.register_hook(hook)  # type: ignore[no-untyped-call]


def _each(note: Callable[..., None], gradient: Tensor, errors: Iterable[tuple[_Key, Tensor]]) -> None:
    with torch.no_grad():
        for key, error in errors:
            note(key, gradient, error)


def _multiplied(module: QuantizedLayer, values: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, QuantizedConvolution):
        return functional.conv2d(values, weight, None, module.stride, module.padding, groups=module.groups)
    return functional.linear(values, weight)


def _width_error(key: _Key, costs: Tensor) -> WidthError:
    name, side, bits = key
    spread = float(costs.std() / len(costs) ** 0.5) if len(costs) > 1 else 0.0
    return WidthError(layer=name, side=side, bits=bits, error=float(costs.mean()), spread=spread)
