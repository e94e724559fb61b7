"""Trained networks for the tests, made with NumPy alone: nothing in them comes from the code under test."""

from __future__ import annotations

import numpy as np

from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, consumers
from qedeploy.network.structure import Bits, Block, Classifier, Convolution, Stage, Structure
from qedeploy.qdq.fold import LayerWeights
from qedeploy.qdq.plan import Grid
from qedeploy.qdq.trained import TrainedNetwork


def small_structure(
    bits: Bits = Bits(weight=4, activation=4),
    *,
    resolution: int = 16,
    kernel: int = 3,
    pooled: bool = True,
    channels: int = 16,
    bottleneck: int = 24,
) -> Structure:
    """A stem, a stage with a plain residual, and one whose first block pools its shortcut where `pooled`."""
    edge = Bits(weight=8, activation=8)
    blocks = (Block.uniform(bits), Block.uniform(bits))
    return Structure(
        stem=Convolution(out_channels=channels, kernel=3, stride=2, bits=edge),
        stages=(
            Stage(out_channels=channels, bottleneck_channels=bottleneck, kernel=kernel, stride=1, blocks=blocks),
            Stage(
                out_channels=channels if pooled else channels + 8,
                bottleneck_channels=bottleneck,
                kernel=kernel,
                stride=2,
                blocks=blocks,
            ),
        ),
        head=Convolution(out_channels=32, kernel=1, stride=1, bits=bits),
        classifier=Classifier(classes=10, bits=edge),
        resolution=resolution,
    )


def random_trained(structure: Structure, *, seed: int = 0, signed: bool = False) -> TrainedNetwork:
    """Random integers over the whole range of every weight quantizer, random normalisation with negative gains."""
    return random_trained_graph(structure_graph(structure), seed=seed, signed=signed)


def random_trained_graph(graph: Graph, *, seed: int = 0, signed: bool = False) -> TrainedNetwork:
    """The same of any network."""
    generator = np.random.default_rng(seed)
    layers = {layer.name: layer for layer in graph.layers}
    readers, made = consumers(graph.operations), graph.makers()
    grids = {value: random_grid(made.get(value), layers[reader], signed) for value, reader in readers.items()}
    return TrainedNetwork(
        graph=graph,
        layers={name: random_weights(layer, generator) for name, layer in layers.items()},
        grids=grids,
    )


def random_grid(made: Operation | None, layer: Layer, signed: bool) -> Grid | None:
    bits = layer.bits.activation
    if bits == 16:
        return None
    nonnegative = made is not None and made.nonnegative
    signed = signed or not nonnegative
    levels = 2 ** (bits - 1 if signed else bits)
    ceiling = made.ceiling if made is not None else None
    return Grid.of(bits=bits, signed=signed, step=2.7 / levels, nonnegative=nonnegative, ceiling=ceiling)


def random_weights(layer: Layer, generator: np.random.Generator) -> LayerWeights:
    inputs = layer.weight_count // layer.out_channels
    shape = layer.weight_shape
    signs = generator.choice([-1.0, 1.0], layer.out_channels)
    gain = signs * generator.uniform(0.5, 1.5, layer.out_channels)
    shift = generator.normal(0.3, 0.4, layer.out_channels)
    if layer.bits.weight == 16:
        weight = generator.standard_normal(shape) * np.sqrt(2 / inputs)
        return LayerWeights(weight=weight, step=None, gain=gain, shift=shift)
    low, high = -(2 ** (layer.bits.weight - 1)), 2 ** (layer.bits.weight - 1) - 1
    integers = np.clip(np.rint(generator.standard_normal(shape) * max(high, 1) / 2), low, high)
    spread = max(float(integers.std()), 0.5)
    step = np.full(layer.out_channels, np.sqrt(2 / inputs) / spread) * generator.uniform(0.7, 1.3, layer.out_channels)
    return LayerWeights(weight=integers, step=step, gain=gain, shift=shift)
