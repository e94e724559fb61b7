"""Reading a trained network: its weight integers, its normalisation, and the grids of its quantizers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.model.layers import QuantizedConvolution, QuantizedLinear
from qedeploy.model.network import QuantizedNetwork, layer_modules, point_quantizers
from qedeploy.model.quantizer import LsqQuantizer
from qedeploy.network.graph import structure_graph
from qedeploy.network.operations import Operation, consumers
from qedeploy.qdq.calibration import Wanted
from qedeploy.qdq.fold import LayerWeights, normalisation
from qedeploy.qdq.plan import Grid
from qedeploy.qdq.trained import TrainedNetwork

_CHUNK = 4


def read_network(network: QuantizedNetwork, source: Path | str) -> TrainedNetwork:
    """Return what `network` holds; raises UserError, naming `source` and the layer, for values that are not finite."""
    modules = layer_modules(network)
    graph = structure_graph(network.structure)
    made, readers = graph.makers(), consumers(graph.operations)
    return TrainedNetwork(
        graph=graph,
        layers={name: _layer_weights(module, f"{source}: {name}") for name, module in modules.items()},
        grids={
            value: _grid(modules[reader].activation_quantizer, made.get(value), f"{source}: {reader}")
            for value, reader in readers.items()
        },
        points={
            value: grid
            for value, quantizer in point_quantizers(network).items()
            if (grid := _grid(quantizer, made.get(value), f"{source}: {value}")) is not None
        },
    )


def training_logits(network: QuantizedNetwork, grids: Mapping[str, Grid], images: Tensor) -> Tensor:
    """Return the logits (batch, classes) of the training forward pass in evaluation mode, float64.

    Steps that were never trained are taken from `grids`, by the value that they round; `network` is not changed.
    """
    calibrated = calibrated_network(network, grids)
    with torch.no_grad():
        parts = [calibrated(chunk) for chunk in torch.split(images.to(torch.float32), _CHUNK)]
    return torch.cat(parts).to(torch.float64)


def calibrated_network(network: QuantizedNetwork, grids: Mapping[str, Grid]) -> QuantizedNetwork:
    """Return a copy of `network` in evaluation mode whose steps that were never trained are those of `grids`."""
    calibrated = copy.deepcopy(network).eval()
    for value, quantizer in point_quantizers(calibrated).items():
        if value in grids:
            _take_step(quantizer, grids[value])
        else:
            quantizer.bypassed = True
    modules = layer_modules(calibrated)
    for value, reader in consumers(structure_graph(network.structure).operations).items():
        module = modules[reader]
        if value in grids:
            _take_step(module.activation_quantizer, grids[value])
        _initialize_weight(module)
    return calibrated


def _take_step(quantizer: LsqQuantizer, grid: Grid) -> None:
    if not (quantizer.initialized and quantizer.trained):
        quantizer.set_step(grid.step)


def _layer_weights(module: QuantizedConvolution | QuantizedLinear, where: str) -> LayerWeights:
    if isinstance(module, QuantizedConvolution):
        bn = module.bn
        gain, shift = normalisation(
            _numbers(bn.weight), _numbers(bn.bias), _numbers(bn.running_mean), _numbers(bn.running_var), bn.eps
        )
    else:
        gain, shift = np.ones(module.weight.shape[0]), _numbers(module.bias)
    for name, values in (("weight", _numbers(module.weight)), ("normalisation", gain), ("bias", shift)):
        _require_finite(values, f"{where}: {name}")
    step: NDArray[np.float64] | None = None
    weight: Tensor = module.weight
    if module.weight_quantizer.step is not None:
        quantizer = _initialize_weight(copy.deepcopy(module)).weight_quantizer
        step = np.abs(_numbers(quantizer.step)).flatten()
        _require_finite(step, f"{where}: weight step")
        weight = quantizer.integers(module.weight)
    return LayerWeights(weight=_numbers(weight), step=step, gain=gain, shift=shift)


def _initialize_weight(module: QuantizedConvolution | QuantizedLinear) -> QuantizedConvolution | QuantizedLinear:
    if not module.weight_quantizer.initialized:
        module.weight_quantizer.initialize(module.weight)
    return module


def _grid(quantizer: LsqQuantizer, made: Operation | None, where: str) -> Grid | Wanted | None:
    if quantizer.step is None:
        return None
    nonnegative = made is not None and made.nonnegative
    ceiling = made.ceiling if made is not None else None
    step = np.abs(_numbers(quantizer.step)).flatten()
    _require_finite(step, f"{where}: activation step")
    if not (quantizer.initialized and quantizer.trained):
        return Wanted(
            bits=quantizer.bits,
            signed=quantizer.signed,
            nonnegative=nonnegative,
            ceiling=ceiling,
            step=float(step[0]) if quantizer.initialized else None,
        )
    return Grid.of(
        bits=quantizer.bits, signed=quantizer.signed, step=float(step[0]), nonnegative=nonnegative, ceiling=ceiling
    )


def _require_finite(values: NDArray[np.float64], where: str) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"{where}: holds values that are not finite: the training diverged; take an earlier checkpoint")


def _numbers(tensor: Tensor | None) -> NDArray[np.float64]:
    if tensor is None:
        raise TypeError("expected a tensor, found none")
    return tensor.detach().to("cpu", torch.float64).numpy()
