"""Whether a written network runs as planned: every planned layer in an integer kernel, and its numbers right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.calibration import exposing
from qedeploy.export.onnx_networks.integer_layers import IntegerLayer
from qedeploy.export.onnx_networks.quantized_graph import QuantizedModel
from qedeploy.qdq.dialect import EXACT
from qedeploy.runtimes.mixed import MixedExecution
from qedeploy.runtimes.registry import reference
from qedeploy.runtimes.turns import Feed

_FLOAT_TOLERANCE = 1e-4
"""Largest difference of sums left in floating point, as a share of the largest of them."""


class PlanError(UserError):
    """A written network that does not run as planned: a fault of qedeploy or of the runtime (exit code 1)."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCheck:
    """What was held to the plan: layers in integer kernels; of their results, how many integers and how many differ.

    A sum on the boundary between two integers may round either way: such differ by one step.
    """

    kernels: int
    integers: int
    differing: int


def require_planned(
    quantized: QuantizedModel, layers: Sequence[IntegerLayer], feeds: Sequence[Feed], execution: MixedExecution
) -> PlanCheck:
    """Return what was checked of `quantized`, whose planned `layers` run by `execution` on `feeds`.

    Each layer is computed again, by floating-point kernels without any optimisation, from the integers that the integer
    kernel was given. Raises PlanError naming layers without an integer kernel, or with other numbers.
    """
    content = quantized.model.SerializeToString()
    kernels = {name for name, operator in execution.nodes(content) if operator in execution.kernels}
    missing = [layer.name for layer in layers if layer.name not in kernels]
    if missing:
        raise PlanError(
            f"{missing[0]}: is planned in integers and {execution.label} runs it otherwise "
            f"({len(missing)} of {len(layers)} layers): please report this; --keep leaves a layer in float32"
        )
    integers = differing = 0
    exposed = {name for layer in layers for name in (_source(quantized, layer), _result(quantized, layer))}
    names = sorted(exposed)
    evaluator = reference().evaluator
    whole = evaluator(exposing(quantized.model, names).SerializeToString(), True)
    alone = {layer.name: evaluator(_cut(quantized, layer), False) for layer in layers}
    for feed in feeds:
        values = whole(feed)
        for layer in layers:
            source, result = _source(quantized, layer), _result(quantized, layer)
            expected = alone[layer.name]({source: values[source]})[result]
            count, wrong = _compare(layer, expected, values[result])
            integers, differing = integers + count, differing + wrong
    return PlanCheck(kernels=len(layers), integers=integers, differing=differing)


def _source(quantized: QuantizedModel, layer: IntegerLayer) -> str:
    return quantized.integers[layer.source]


def _result(quantized: QuantizedModel, layer: IntegerLayer) -> str:
    return quantized.integers.get(layer.result, layer.result)


def _cut(quantized: QuantizedModel, layer: IntegerLayer) -> bytes:
    """Return the layer alone, from the integers that it reads to what it makes."""
    from onnx import utils

    extractor = utils.Extractor(exposing(quantized.model, (_source(quantized, layer), _result(quantized, layer))))
    source, result = _source(quantized, layer), _result(quantized, layer)
    cut: onnx.ModelProto = extractor.extract_model([source], [result])
    kept = layer.result in quantized.integers
    cut.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    cut.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8 if kept else TensorProto.FLOAT
    return bytes(cut.SerializeToString())


def _compare(layer: IntegerLayer, expected: np.ndarray, found: np.ndarray) -> tuple[int, int]:
    """Return how many integers were compared and how many differ; none for sums in floating point."""
    if expected.dtype.kind == "f":
        largest = float(np.abs(expected - found).max() / (np.abs(expected).max() or 1.0))
        if not largest <= _FLOAT_TOLERANCE:
            raise PlanError(f"{layer.name}: its integer kernel differs by {largest:.1e} of its largest sum")
        return 0, 0
    steps = np.abs(expected.astype(np.int32) - found.astype(np.int32))
    differing = int(np.count_nonzero(steps))
    if steps.max(initial=0) > 1 or differing > max(1, EXACT.share * steps.size):
        raise PlanError(
            f"{layer.name}: its integer kernel differs from its plan by up to {steps.max()} steps in {differing} of "
            f"{steps.size} values"
        )
    return steps.size, differing
