"""Where a training went wrong: the first layer whose numbers are no longer finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qedeploy.model.network import QuantizedNetwork
from qedeploy.words import listed


@torch.no_grad()
def broken_layer(network: QuantizedNetwork, images: Tensor) -> str:
    """Return in words which weights, steps, statistics or outputs of `network` are not finite, in execution order."""
    broken = [name for name, value in network.named_parameters() if not bool(value.isfinite().all())]
    if broken:
        return f"{listed(broken)} are not finite"
    statistics = [
        name
        for name, value in network.named_buffers()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if statistics:
        return f"{listed(statistics)} are not finite: what these layers put out grew beyond all measure"
    gradients = [
        name
        for name, value in network.named_parameters()
        if value.grad is not None and not bool(value.grad.isfinite().all())
    ]
    found: list[str] = []

    def note(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                found.append(name)

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if name and not list(module.children())]
    handles = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"what {found[0]} puts out is not finite"
    if gradients:
        return f"the gradients of {listed(gradients)} are not finite"
    return "the weights and what the layers put out are finite: only the loss is not"
