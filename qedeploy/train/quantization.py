"""From float weights to a quantized network without training: steps by least squared error, statistics anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qedeploy.model.network import DevicePoint, QuantizedNetwork, layer_modules, quantizers, use_device_grids
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.model.rounding import SMALLEST_STEP
from qedeploy.network.graph import structure_graph
from qedeploy.network.operations import consumers
from qedeploy.profiles.profile import Profile
from qedeploy.qdq.calibration import Wanted, best_step
from qedeploy.runtimes.registry import dialect_for

_COARSE, _FINE, _SMALLEST_SHARE = 32, 16, 0.02


def round_as_device(network: QuantizedNetwork, profile: Profile) -> None:
    """Make `network` round where the runtime of `profile` does; nothing changes for a profile without a runtime."""
    if profile.search_only:
        return
    dialect = dialect_for(profile.runtime, profile.dialect)
    steps = structure_graph(network.structure).operations
    modules = layer_modules(network)
    read = {value: modules[reader].activation_quantizer for value, reader in consumers(steps).items()}
    quantized = [value for value, quantizer in read.items() if quantizer.quantized]
    # The loss reads the logits as they are: where a runtime rounds them too, the export sets their step.
    points = [point for point in dialect.points(steps, quantized) if point.value != steps[-1].name]
    use_device_grids(
        network, [DevicePoint(value=point.value, bits=point.bits, signed=point.signed) for point in points]
    )


@contextmanager
def quantization_bypassed(network: nn.Module) -> Iterator[None]:
    """Let `network` compute without any quantizer in the block."""
    bypass(network, True)
    try:
        yield
    finally:
        bypass(network, False)


def bypass(network: nn.Module, bypassed: bool) -> None:
    """Let all quantizers of `network` pass values on as they are, or round again; their steps then do not train."""
    for _, quantizer in quantizers(network):
        quantizer.bypassed = bypassed
        if quantizer.step is not None:
            quantizer.step.requires_grad_(not bypassed)


@torch.no_grad()
def choose_steps(network: QuantizedNetwork, images: Tensor, *, keep_trained: bool = False) -> int:
    """Set the steps of `network` to those of least squared error, of weights and on `images`, and return how many.

    Layer by layer in one pass, so that each sees its inputs rounded. `keep_trained` leaves steps that were trained.
    What is set counts as set, not as trained. The network's mode stays.
    """
    chosen = [
        (name, quantizer)
        for name, quantizer in quantizers(network)
        if not (keep_trained and quantizer.trained and bool(quantizer.initialized))
    ]
    was_training = network.training
    network.eval()
    for module in layer_modules(network).values():
        if any(module.weight_quantizer is quantizer for _, quantizer in chosen):
            module.weight_quantizer.set_step(best_weight_steps(module.weight, module.weight_quantizer))
            module.weight_quantizer.trained = False
    handles = [
        quantizer.register_forward_pre_hook(_choose)
        for name, quantizer in chosen
        if not name.endswith("weight_quantizer")
    ]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
    return len(chosen)


@torch.no_grad()
def best_weight_steps(weight: Tensor, quantizer: LsqQuantizer) -> Tensor:
    """Return for each output channel the step of least squared error, (out, 1, ...).

    Of 32 from 2 % of what covers the largest weight up to that, and 16 around the best of them.
    """
    channels = weight.detach().reshape(len(weight), -1)
    covering = torch.maximum(
        channels.amax(dim=1) / quantizer.quant_max, channels.amin(dim=1) / min(quantizer.quant_min, -1)
    ).clamp(min=SMALLEST_STEP)
    coarse = torch.logspace(0, 1, _COARSE, base=1 / _SMALLEST_SHARE, device=weight.device) * _SMALLEST_SHARE
    best = _least_error(channels, covering, coarse, quantizer)
    ratio = float(coarse[1] / coarse[0])
    fine = torch.logspace(-1, 1, _FINE, base=ratio, device=weight.device)
    best = _least_error(channels, best, fine, quantizer)
    return best.clamp(min=SMALLEST_STEP).reshape(-1, *[1] * (weight.dim() - 1))


@torch.no_grad()
def estimate_statistics(network: QuantizedNetwork, batches: Sequence[Tensor]) -> None:
    """Replace the running statistics of every normalisation by those of `batches`, normalised images; the mode stays.

    Statistics that training left are averages over weights that changed; at few bits that costs accuracy.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    was_training = network.training
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # The mean over all batches.
        norm.train()
    try:
        for images in batches:
            network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)


def _choose(quantizer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(quantizer, LsqQuantizer)
    values = inputs[0].detach().to("cpu", torch.float32)
    wanted = Wanted(bits=quantizer.bits, signed=quantizer.signed, nonnegative=bool(values.min() >= 0))
    quantizer.set_step(best_step(values, wanted))
    quantizer.trained = False


def _least_error(channels: Tensor, base: Tensor, shares: Tensor, quantizer: LsqQuantizer) -> Tensor:
    least = torch.full_like(base, torch.inf)
    best = base.clone()
    for share in shares:
        step = (base * share)[:, None]
        rounded = (channels / step).round_().clamp_(quantizer.quant_min, quantizer.quant_max).mul_(step)
        error = (rounded - channels).square().sum(dim=1)
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better, step[:, 0], best)
    return best
