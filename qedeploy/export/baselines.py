"""Twins of a model for timing: the same network in float32, and in uniform W8A8, with random weights.

A runtime's time depends on shapes and types and not on values (except for denormals, which the scaling here avoids),
so the metadata of an exported model is all that a twin needs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from qedeploy.files import write_bytes
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, consumers
from qedeploy.network.structure import MAX_BITS, Bits, Block, Structure
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.dialect import Dialect
from qedeploy.qdq.fold import FoldedLayer, LayerWeights, fold, with_integer_bias
from qedeploy.qdq.lowered import LoweredNetwork, weight_range
from qedeploy.qdq.metadata import ModelMetadata, to_properties
from qedeploy.qdq.plan import Grid, LayerPlan, LoweringPlan, StepSource, ValuePlan
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.registry import dialect_for

_REACH = 4.0
"""Standard deviations covered by the assumed grids; random weights keep values near a unit normal."""


def write_float_twin(metadata: ModelMetadata, path: Path, *, batch: int | None = None) -> Path:
    """Write the network of `metadata` without any quantization, with random weights; returns `path`."""
    return _write_twin(metadata, MAX_BITS, path, batch)


def write_w8a8_twin(metadata: ModelMetadata, path: Path, *, batch: int | None = None) -> Path:
    """Write the network of `metadata` with every layer in W8A8, with random weights; returns `path`."""
    return _write_twin(metadata, 8, path, batch)


def uniform(graph: Graph, width: int) -> Graph:
    """Return `graph` with every layer at `width` bits; 16 means not quantized."""
    if graph.structure is not None:
        return structure_graph(uniform_structure(graph.structure, width))
    bits = Bits(weight=width, activation=width)
    return graph.with_bits({layer.name: bits for layer in graph.layers})


def uniform_structure(structure: Structure, width: int) -> Structure:
    """Return `structure` with every layer at `width` bits; 16 means not quantized."""
    bits = Bits(weight=width, activation=width)
    return dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=bits),
        stages=tuple(
            dataclasses.replace(stage, blocks=tuple(_uniform_block(block, bits) for block in stage.blocks))
            for stage in structure.stages
        ),
        head=dataclasses.replace(structure.head, bits=bits),
        classifier=dataclasses.replace(structure.classifier, bits=bits),
    )


def _uniform_block(block: Block, bits: Bits) -> Block:
    return dataclasses.replace(Block.uniform(bits), expand=None if block.expand is None else bits)


def random_network(graph: Graph, dialect: Dialect, *, seed: int = 0) -> LoweredNetwork:
    """Return a lowered network with random weights, for timing only: its output means nothing.

    16-bit weights and activations stay floating point. Not yet arranged by the dialect.
    """
    steps, made = graph.operations, graph.makers()
    layers = {layer.name: layer for layer in graph.layers}
    readers = consumers(steps)
    grids = {value: _assumed_grid(made.get(value), layers[reader], dialect) for value, reader in readers.items()}
    points = {
        point.value: Grid.of(
            bits=point.bits,
            signed=point.signed,
            step=_step(point.bits, point.signed),
            nonnegative=point.nonnegative,
            ceiling=point.ceiling,
        )
        for point in dialect.points(steps, [name for name, grid in grids.items() if grid is not None])
    }
    found = {**{name: grid for name, grid in grids.items() if grid is not None}, **points}
    generator = np.random.default_rng(seed)
    folded = {
        step.layer.name: _random_layer(step.layer, found.get(step.inputs[0]), dialect, generator)
        for step in steps
        if step.layer is not None
    }
    inputs = {step.name: found.get(step.inputs[0]) for step in steps}
    plan = LoweringPlan(
        profile="",
        runtime=dialect.runtime,
        dialect=dialect.name,
        layers=tuple(_layer_plan(layer, inputs[layer.name], folded[layer.name]) for layer in graph.layers),
        values=tuple(
            ValuePlan(name=name, grid=grid, source=StepSource.ASSUMED, reader=readers.get(name))
            for name, grid in found.items()
        ),
        integer_bias=dialect.integer_bias,
    )
    return LoweredNetwork(graph=graph, plan=plan, layers=folded)


def float_network(network: LoweredNetwork) -> LoweredNetwork:
    """Return `network` without any rounding of activations, its weights as the floating-point values they stand for."""
    layers = {name: _floating(layer) for name, layer in network.layers.items()}
    plan = dataclasses.replace(network.plan, values=(), integer_bias=False)
    return LoweredNetwork(graph=uniform(network.graph, MAX_BITS), plan=plan, layers=layers)


def write_float_onnx(network: LoweredNetwork, path: Path, dialect: Dialect, *, batch: int | None = None) -> Path:
    """Write `network` as a plain floating-point ONNX file without Q/DQ; returns `path`."""
    written = write_model(float_network(network), dialect, batch=batch)
    return write_bytes(path, written.model.SerializeToString())


def _write_twin(metadata: ModelMetadata, width: int, path: Path, batch: int | None) -> Path:
    dialect = dialect_for(metadata.plan.runtime, metadata.plan.dialect)
    network = random_network(uniform(metadata.graph, width), dialect)
    if width < MAX_BITS:
        network = dialect.arrange(network)
    properties = to_properties(ModelMetadata(graph=network.graph, profile="", plan=network.plan))
    written = write_model(network, dialect, batch=batch, metadata=properties)
    return write_bytes(path, written.model.SerializeToString())


def _assumed_grid(made: Operation | None, layer: Layer, dialect: Dialect) -> Grid | None:
    bits = layer.bits.activation
    if bits == MAX_BITS:
        return None
    nonnegative = made is not None and made.nonnegative
    signed = not nonnegative or bits > dialect.unsigned_activation_bits
    ceiling = made.ceiling if made is not None else None
    return Grid.of(bits=bits, signed=signed, step=_step(bits, signed), nonnegative=nonnegative, ceiling=ceiling)


def _step(bits: int, signed: bool) -> float:
    return _REACH / float(2 ** (bits - 1 if signed else bits))


def _random_layer(layer: Layer, grid: Grid | None, dialect: Dialect, generator: np.random.Generator) -> FoldedLayer:
    inputs = layer.weight_count // layer.out_channels
    weight = generator.standard_normal(layer.weight_shape) * np.sqrt(2 / inputs)
    ones = np.ones(layer.out_channels)
    shift = generator.standard_normal(layer.out_channels) * 0.1
    if layer.bits.weight == MAX_BITS:
        return fold(LayerWeights(weight=weight, step=None, gain=ones, shift=shift))
    highest = 2 ** (layer.bits.weight - 1) - 1
    step = np.abs(weight).reshape(layer.out_channels, -1).max(axis=1) / max(highest, 1)
    integers = np.rint(weight / step.reshape((-1,) + (1,) * (weight.ndim - 1)))
    folded = fold(LayerWeights(weight=integers, step=step, gain=ones, shift=shift))
    return with_integer_bias(folded, grid.step) if dialect.integer_bias and grid is not None else folded


def _layer_plan(layer: Layer, grid: Grid | None, folded: FoldedLayer) -> LayerPlan:
    low, high = weight_range(folded)
    lowering = Lowering.INT8 if folded.scale is not None and grid is not None else Lowering.FLOAT32
    return LayerPlan(
        name=layer.name,
        kind=layer.category,
        bits=layer.bits,
        lowering=lowering,
        executed=lowering.executed(layer.bits),
        input=grid,
        weight_low=low,
        weight_high=high,
    )


def _floating(layer: FoldedLayer) -> FoldedLayer:
    if layer.scale is None:
        return layer
    scale = layer.scale.reshape((-1,) + (1,) * (layer.weight.ndim - 1))
    return FoldedLayer(weight=(layer.weight * scale).astype(np.float32), scale=None, bias=layer.bias)
