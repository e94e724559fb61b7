"""What changes the weights: the optimizer with its groups, the rate over time, and the average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.optimizer import Optimizer as TorchOptimizer

from qedeploy.model.network import QuantizedNetwork
from qedeploy.train.recipe import Optimizer, TrainingRecipe


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> TorchOptimizer:
    """Return the recipe's optimizer; weight decay spares normalisations, biases and steps."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (spared if parameter.dim() < 2 or name.endswith(".step") else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    # One kernel for all parameters: most have a few numbers, where calls are what takes the time.
    if recipe.optimizer is Optimizer.ADAMW:
        return AdamW(groups, lr=recipe.rate, fused=True)
    return SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def rate_at(step: int, steps: int, warm_up: int, highest: float) -> float:
    """Return the learning rate of a step: it grows for `warm_up` steps, then falls to zero at `steps` as a cosine."""
    if step < warm_up:
        return highest * (step + 1) / (warm_up + 1)
    passed = (step - warm_up) / max(1, steps - warm_up)
    return highest * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


class WeightAverage:
    """An exponential moving average of a network's weights, steps included; statistics are the network's latest."""

    def __init__(self, network: QuantizedNetwork, decay: float) -> None:
        """Begin with the weights as they are."""
        self.network = copy.deepcopy(network).eval()
        self.updates = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: QuantizedNetwork) -> None:
        """Take the weights after a step in; early on the average forgets faster, or it would hold on to the start."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)
        for kept, latest in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(latest)
