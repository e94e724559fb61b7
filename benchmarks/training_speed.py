"""How fast quantization-aware training is: images per processor second of the quantized network and of the float one.

Steps of both, and of the same network with Brevitas' quantizers (learned steps, initialised from statistics) where that
package is installed, in turns in one process on one thread. A ratio is the median over rounds, between its quartiles.

To meet: quantized at least 0.7 of float, and no slower than with Brevitas.
Run: python benchmarks/training_speed.py [--limit 64M] [--batch 128] [--rounds 15] [--steps 3] [--folder F]
Brevitas (with BREVITAS_JIT=1 in its fast form): pip install --no-deps brevitas==0.13.4 dependencies==2.0.1 unfoldNd
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from accuracy import MIXED, PROFILE, searched, with_widths
from accuracy_page import BREVITAS, FLOAT, QUANTIZED, SPEEDS, Speed
from torch import Tensor, nn
from torch.nn import functional

from qedeploy.files import write_json
from qedeploy.model.build import build
from qedeploy.model.network import QuantizedNetwork
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.profiles.loader import load_profile
from qedeploy.train.memory import keep_memory
from qedeploy.train.optimization import make_optimizer
from qedeploy.train.quantization import bypass, round_as_device
from qedeploy.train.recipe import load_recipe

WARM_UP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", default="64M", help="BitOps of the searched shape")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="that of accuracy.py, whose page then has the speeds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    network = quantized(options.limit)
    floating = copy.deepcopy(network)
    bypass(floating, True)
    networks: dict[str, nn.Module] = {FLOAT: floating, QUANTIZED: network}
    if find_spec("brevitas") is None:
        print("Brevitas is not installed: left out")
    else:
        networks[BREVITAS] = with_brevitas(network)
    steps = {name: stepping(one, options.batch) for name, one in networks.items()}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(options.steps):
                step()
            taken[name].append((time.process_time() - began) / options.steps)
    found = [measured(name, seconds, taken[FLOAT], options.batch) for name, seconds in taken.items()]
    for one in found:
        print(
            f"{one.name}: {one.images_per_second:,.0f} images per processor second, {one.middle:.3f} "
            f"[{one.low:.3f}, {one.high:.3f}] of {FLOAT}"
        )
    if options.folder is not None:
        write_json(options.folder / SPEEDS, [asdict(one) for one in found])


def measured(name: str, seconds: list[float], floats: list[float], batch: int) -> Speed:
    """Return the speed of a network from the seconds of its steps, round by round, and of the float network's."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(floats, seconds, strict=True)], n=4)
    return Speed(name=name, images_per_second=batch / statistics.median(seconds), low=low, middle=middle, high=high)


def quantized(limit: str) -> QuantizedNetwork:
    """Return the searched mixed network as it is trained, rounding where the device does."""
    profile = load_profile(PROFILE)
    unsigned = profile.unsigned_activation_bits
    network = build(with_widths(searched(limit), MIXED), unsigned_activation_bits=unsigned, seed=0)
    round_as_device(network, profile)
    return network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]


def stepping(network: nn.Module, batch: int) -> Callable[[], None]:
    """Return a function that trains `network` for a step, always on the same images."""
    structure = searched("64M")
    generator = torch.Generator().manual_seed(0)
    shape = (batch, structure.input_channels, structure.resolution, structure.resolution)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, structure.classifier.classes, (batch,), generator=generator)
    optimizer = make_optimizer(network, load_recipe("quick"))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


class BrevitasQuantizer(nn.Module):
    """Brevitas' quantizer where ours was; a step for each channel rounds the weights of a layer of its own."""

    def __init__(self, ours: LsqQuantizer, weight: Tensor | None) -> None:
        super().__init__()
        layers, quants = import_module("brevitas.nn"), import_module("brevitas.quant")

        self.clips_negative = not ours.signed
        self.rounds_weights = weight is not None
        if weight is None:
            kind = quants.Int8ActPerTensorFloat if ours.signed else quants.Uint8ActPerTensorFloat
            self.layer = layers.QuantIdentity(kind, bit_width=ours.bits, collect_stats_steps=1)
        else:
            kind = quants.Int8WeightPerChannelFloat
            learned = kind.let(bit_width=ours.bits, scaling_impl_type="parameter_from_stats")
            self.layer = layers.QuantConv2d(weight.shape[1], len(weight), 1, bias=False, weight_quant=learned)
            self.layer.weight = weight

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` rounded; weights are the layer's own."""
        rounded: Tensor = self.layer.quant_weight().value if self.rounds_weights else self.layer(values)
        return rounded


def with_brevitas(network: QuantizedNetwork) -> nn.Module:
    """Return a copy of `network` whose quantizers are Brevitas'; everything else is the same code."""
    other = copy.deepcopy(network)
    for module in list(other.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LsqQuantizer) and child.quantized:
                weight = module.weight if name == "weight_quantizer" and isinstance(module.weight, Tensor) else None
                setattr(module, name, BrevitasQuantizer(child, weight))
    return other


if __name__ == "__main__":
    main()
