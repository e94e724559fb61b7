"""The reference's network in plain PyTorch, written from its description and from nothing in qedeploy.

Names of parameters are those of its checkpoints, so that `state_dict()` is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Rounding(nn.Module):
    """q = round(clip(x / s, -2^(b-1), 2^(b-1) - 1)), halves to even, times s."""

    def __init__(self, bits: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.low, self.high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        self.s = nn.Parameter(torch.ones(*shape))

    def forward(self, values: Tensor) -> Tensor:
        return torch.round(torch.clamp(values / self.s, self.low, self.high)) * self.s


class Weighted(nn.Module):
    """What convolutions and the classifier share, derived buffers of the reference included."""

    def __init__(self, shape: Sequence[int], weight_bits: int, activation_bits: int) -> None:
        super().__init__()
        out = shape[0]
        self.weight = nn.Parameter(torch.empty(*shape))
        self.weightq = nn.Parameter(torch.zeros(*shape), requires_grad=False)
        self.alpha = nn.Parameter(torch.ones(out), requires_grad=False)
        self.scalar = nn.Parameter(torch.ones(1), requires_grad=False)
        self.act_quan = Rounding(activation_bits, [1])
        self.weight_quan = Rounding(weight_bits, [out] + [1] * (len(shape) - 1))


class Convolution(Weighted):
    def __init__(self, block: dict[str, Any], *, groups: int = 1) -> None:
        shape = [block["out"], block["in"] // groups, block["k"], block["k"]]
        super().__init__(shape, block["nbitsW"], block["nbitsA"])
        self.stride, self.padding, self.groups = block["s"], (block["k"] - 1) // 2, groups

    def forward(self, values: Tensor) -> Tensor:
        weight = self.weight_quan(self.weight)
        return functional.conv2d(
            self.act_quan(values), weight, stride=self.stride, padding=self.padding, groups=self.groups
        )


class Linear(Weighted):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__([classes, channels], 8, 8)
        self.bias = nn.Parameter(torch.empty(classes))

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(self.act_quan(values), self.weight_quan(self.weight), self.bias)


class Normalised(nn.Module):
    def __init__(self, block: dict[str, Any], *, groups: int = 1, relu: bool = False) -> None:
        super().__init__()
        self.conv1 = Convolution(block, groups=groups)
        self.bn1 = nn.BatchNorm2d(block["out"])
        self.relu = relu

    def forward(self, values: Tensor) -> Tensor:
        values = self.bn1(self.conv1(values))
        return torch.relu(values) if self.relu else values


class Inner(nn.Module):
    def __init__(self, stage: dict[str, Any], position: int) -> None:
        super().__init__()
        weights = stage["nbitsW"][3 * position : 3 * position + 3]
        activations = stage["nbitsA"][3 * position : 3 * position + 3]
        read = stage["in"] if position == 0 else stage["out"]
        self.stride = stage["s"] if position == 0 else 1
        middle = stage["btn"]
        shapes = [(read, middle, 1, 1), (middle, middle, stage["k"], self.stride), (middle, stage["out"], 1, 1)]
        for index, (shape, weight, activation) in enumerate(zip(shapes, weights, activations, strict=True)):
            block = dict(zip(("in", "out", "k", "s"), shape, strict=True)) | {"nbitsW": weight, "nbitsA": activation}
            self.add_module(f"conv{index + 1}", Normalised(block, groups=middle if index == 1 else 1))
        self.adds = read == stage["out"]

    def forward(self, values: Tensor) -> Tensor:
        outputs = torch.relu(self.conv1(values))
        outputs = self.conv3(torch.relu(self.conv2(outputs)))
        if self.adds:
            outputs = outputs + (functional.avg_pool2d(values, 2, 2) if self.stride == 2 else values)
        return torch.relu(outputs)


class Stage(nn.Module):
    def __init__(self, stage: dict[str, Any]) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(Inner(stage, position) for position in range(stage["L"]))

    def forward(self, values: Tensor) -> Tensor:
        for block in self.block_list:
            values = block(values)
        return values


class ReferenceNetwork(nn.Module):
    """The whole network of a list of reference blocks."""

    def __init__(self, blocks: Sequence[dict[str, Any]], classes: int) -> None:
        super().__init__()
        stem, *stages, head = blocks
        self.block_list = nn.ModuleList(
            [Normalised(stem, relu=True), *(Stage(stage) for stage in stages), Normalised(head, relu=True)]
        )
        self.fc_linear = Linear(head["out"], classes)

    def forward(self, images: Tensor) -> Tensor:
        values = images
        for block in self.block_list:
            values = block(values)
        return self.fc_linear(torch.flatten(functional.adaptive_avg_pool2d(values, 1), 1))


@torch.no_grad()
def randomise(network: ReferenceNetwork, seed: int, dtype: torch.dtype = torch.float32) -> ReferenceNetwork:
    """Give every value something that training might: weights, statistics, negative gammas, a step for each range."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * (high - low) + low)

    for module in network.modules():
        if isinstance(module, Weighted):
            fan_in = module.weight[0].numel()
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
            spread = (2 / fan_in) ** 0.5
            uniform(
                module.weight_quan.s, 1.5 * spread / module.weight_quan.high, 3.5 * spread / module.weight_quan.high
            )
            uniform(module.act_quan.s, 1.5 / module.act_quan.high, 3.0 / module.act_quan.high)
            for derived in (module.weightq, module.alpha, module.scalar):
                uniform(derived, -9.0, 9.0)
        if isinstance(module, nn.BatchNorm2d):
            uniform(module.weight, 0.6, 1.4)
            module.weight[::5] *= -1
            uniform(module.bias, -0.2, 0.6)
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.4, 1.6)
        if isinstance(module, Linear):
            uniform(module.bias, -0.5, 0.5)
    return network.to(dtype).eval()
