"""MobileNetV2 as a Structure computes what MobileNetV2 computes: an independent one, written after its paper."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from qedeploy.model.build import build
from qedeploy.model.network import layer_modules, signed_activations
from qedeploy.network.layers import expand_layers
from qedeploy.network.published import find_published
from qedeploy.network.structure import Bits, Block, Structure

# Expansion t, channels c, blocks n, first stride s: table 2 of Sandler et al. 2018.
TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
FLOAT = Bits(weight=16, activation=16)


class MobileNetV2(nn.Module):
    """The paper's network, one list of (convolution, normalisation) in the order in which data meets them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.blocks: list[tuple[list[int], bool]] = []
        pairs = [self._pair(3, 32, 3, 2)]
        read = 32
        for expansion, channels, blocks, stride in TABLE:
            for position in range(blocks):
                middle, first = read * expansion, len(pairs)
                if expansion > 1:
                    pairs.append(self._pair(read, middle, 1, 1))
                pairs.append(self._pair(middle, middle, 3, stride if position == 0 else 1, groups=middle))
                pairs.append(self._pair(middle, channels, 1, 1))
                adds = position > 0
                self.blocks.append((list(range(first, len(pairs))), adds))
                read = channels
        pairs.append(self._pair(read, 1280, 1, 1))
        self.pairs = nn.ModuleList(pairs)
        self.classifier = nn.Linear(1280, classes)

    @staticmethod
    def _pair(read: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(read, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out))

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu6(self.pairs[0](images))
        for members, adds in self.blocks:
            outputs = values
            for member in members[:-1]:
                outputs = functional.relu6(self.pairs[member](outputs))
            outputs = self.pairs[members[-1]](outputs)
            values = values + outputs if adds else outputs
        values = functional.relu6(self.pairs[-1](values))
        return self.classifier(values.mean(dim=(2, 3)))


def in_floating_point(structure: Structure) -> Structure:
    stages = tuple(
        dataclasses.replace(
            stage,
            blocks=tuple(
                Block(expand=FLOAT if block.expand else None, depthwise=FLOAT, project=FLOAT) for block in stage.blocks
            ),
        )
        for stage in structure.stages
    )
    return dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=FLOAT),
        stages=stages,
        head=dataclasses.replace(structure.head, bits=FLOAT),
        classifier=dataclasses.replace(structure.classifier, bits=FLOAT),
    )


@torch.no_grad()
def test_mobilenetv2_computes_what_the_paper_s_network_computes():
    torch.manual_seed(11)
    expected = MobileNetV2(classes=10).double().eval()
    for name, value in expected.state_dict().items():
        if "running" in name or name.endswith(".1.bias"):
            value.copy_(torch.rand_like(value) * 0.6 + 0.4)
        if name.endswith(".1.weight"):
            # Large enough for some activations to pass 6, small enough for the depth.
            value.copy_(torch.rand_like(value) * 2.0 + 1.0)
    network = build(in_floating_point(find_published("MBV2-8bit").structure), 10).double().eval()
    *convolutions, classifier = layer_modules(network).values()
    assert len(convolutions) == len(expected.pairs)
    for ours, theirs in zip(convolutions, expected.pairs, strict=True):
        ours.weight.copy_(theirs[0].weight)
        ours.bn.load_state_dict(theirs[1].state_dict())
    classifier.load_state_dict(expected.classifier.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert torch.allclose(network(images), expected(images), rtol=1e-9, atol=1e-9)
    saturated = functional.relu(expected.pairs[0](images)) > 6
    assert bool(saturated.any())


@pytest.mark.parametrize("name", ["MBV2-8bit", "MBV2-4bit", "Mixed7d0G"])
def test_a_published_model_trains(name):
    structure = dataclasses.replace(find_published(name).structure, resolution=32)
    network = build(structure, 4, seed=0)
    images, labels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    functional.cross_entropy(network(images), labels).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool(parameter.grad.isfinite().all()), parameter_name


def test_what_a_linear_bottleneck_puts_out_is_read_signed():
    network = build(find_published("MBV2-8bit").structure, 4, seed=0)
    layers = expand_layers(network.structure)
    expected = ["stem", *(after.name for before, after in pairwise(layers) if before.activation is None)]
    assert list(signed_activations(network)) == expected
    assert expected[1:3] == ["stage2.block1.expand", "stage3.block1.expand"]
    assert expected[-1] == "head"
