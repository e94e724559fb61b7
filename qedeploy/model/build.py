"""From a Structure to an initialised network."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch

from qedeploy.model.network import QuantizedLayer, QuantizedNetwork, layer_modules
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure


def build(
    structure: Structure,
    num_classes: int | None = None,
    *,
    unsigned_activation_bits: int = 8,
    seed: int | None = None,
) -> QuantizedNetwork:
    """Return a network of `structure` with initialised weights, in training mode.

    `num_classes` replaces the structure's own. Layers that read the output of a ReLU quantize it to unsigned integers
    up to `unsigned_activation_bits` wide (the profile's: what its runtime represents exactly), to signed ones where
    it is wider; the image and the output of a linear bottleneck are signed. With `seed` the weights depend on nothing
    else, without it on torch's own random state. The first training batch sets the activation steps.
    Raises StructureError for an impossible number of classes, RequestError for a width of one bit.

    Any training loop serves, with nothing of qedeploy in it::

        network = build(structure, num_classes=10, seed=0)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for images, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
        save_checkpoint("model.pth", network, profile="cpu-int8", recipe={})
    """
    if num_classes is not None:
        classifier = dataclasses.replace(structure.classifier, classes=num_classes)
        structure = dataclasses.replace(structure, classifier=classifier)
    network = QuantizedNetwork(structure, signed_activations=reads_signed(structure, unsigned_activation_bits))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for module in layer_modules(network).values():
        _initialize(module, generator)
    return network


def reads_signed(structure: Structure, unsigned_activation_bits: int) -> frozenset[str]:
    """Return the names of the layers whose input `build` quantizes to signed integers."""
    layers = expand_layers(structure)
    behind = {
        layer.name
        for before, layer in pairwise(layers)
        if before.activation is None or layer.bits.activation > unsigned_activation_bits
    }
    return frozenset({layers[0].name, *behind})


@torch.no_grad()
def _initialize(layer: QuantizedLayer, generator: torch.Generator | None) -> None:
    # He et al. 2015, by the inputs of one output: for a depthwise layer these are the kernel's alone.
    fan_in = layer.weight[0].numel()
    layer.weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)
    layer.weight_quantizer.initialize(layer.weight)
