"""Where fast integer kernels saturate: x86 without VNNI adds pairs of uint8 x int8 products in 16 bits.

vpmaddubsw does it: 255 times two weights of one sign fits 16 bits while these sum to 128 at most, so weights of 7 bits
never saturate and of 8 bits they may. Depthwise kernels widen before they multiply and are exact, as is everything on
Arm and on x86 with VNNI.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray

from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.profiles.profile import REQUIRED_CATEGORIES, Lowering, Profile
from qedeploy.runtimes.processor import Processor
from qedeploy.runtimes.products import Products

_PAIR_SUM = 128
"""The most that two weights of one sign may sum to: 255 * 128 < 2**15 <= 255 * 129."""

_EXACT_BITS = 7
"""Widths of which no two weights sum to more than that."""

_WEIGHT_INPUT = {
    "Conv": 1,
    "Gemm": 1,
    "MatMul": 1,
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
}
"""Operators that multiply by weights, and which of their inputs these are."""

_ON_FLOATS = frozenset({"Conv", "Gemm", "MatMul"})
_MOVES = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What may stand between a DequantizeLinear and the operator that it is fused with."""


def saturates(processor: Processor) -> bool:
    """Return whether pairs of products may saturate on `processor`: as far as can be seen, x86 without VNNI."""
    return processor.x86 and not processor.int8_products


def products_of(model: onnx.ModelProto, profile: str | None, runtime: str, processor: Processor) -> Products:
    """Return how exactly `processor` multiplies the integers of `model`, which was exported for `profile`."""
    inexact = wide_layers(model) if saturates(processor) else ()
    return Products(kernels=kernels(processor), inexact=inexact, advice=_advice(inexact, profile, runtime, processor))


def kernels(processor: Processor) -> str:
    """Return the integer kernels that `processor` gets, in words."""
    sets = ", ".join(processor.instruction_sets) or processor.architecture
    exact = f"exact for weights of at most {_EXACT_BITS} bits" if saturates(processor) else "exact"
    return f"{exact}: {sets}{' without VNNI' if saturates(processor) else ''}"


def suited_profile(runtime: str, processor: Processor) -> str | None:
    """Return the shipped profile of `runtime` with the widest weights that `processor` multiplies exactly."""
    limit = _EXACT_BITS if saturates(processor) else 8
    widths = {}
    for name in profile_names():
        profile = load_profile(name)
        if profile.runtime == runtime:
            widths[name] = max(
                precision.bits.weight
                for kind in REQUIRED_CATEGORIES
                for precision in profile.precisions[kind]
                if precision.lowering is Lowering.INT8
            )
    return max((name for name, width in widths.items() if width <= limit), key=widths.__getitem__, default=None)


def mismatch(profile: Profile, processor: Processor) -> str:
    """Return why `profile` is not for `processor`, as a sentence, "" where it may be."""
    suited = suited_profile(profile.runtime, processor)
    native = [precision for found in profile.precisions.values() for precision in found if not precision.carried]
    widest = max(item.bits.weight for item in native if item.lowering is Lowering.INT8)
    if saturates(processor) and widest > _EXACT_BITS:
        return (
            f"Profile {profile.name} has weights of {widest} bits, whose products may saturate in this CPU's kernels "
            f"({kernels(processor)}): a session computes other numbers in the time that is measured. Take --profile "
            f"{suited}."
        )
    return _advice((), profile.name, profile.runtime, processor)


def wide_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the layers of `model`, by their nodes' names, whose products may saturate without VNNI.

    Weights that are integers in the file are looked at; those that a session quantizes itself as it loads are not.
    """
    return tuple(node.name or node.output[0] for node in _wide_nodes(model.graph))


def _wide_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        index = _WEIGHT_INPUT.get(node.op_type)
        if index is None or len(node.input) <= index:
            continue
        if node.op_type in _ON_FLOATS and not _dequantized(node.input[0], makers):
            continue
        weight = _integers(node.input[index], constants, makers)
        if weight is None or _is_depthwise(node, weight):
            continue
        # Only the second factor of a MatMul has its output channels last.
        channels_last = "MatMul" in node.op_type or (node.op_type in {"Gemm", "QGemm"} and not _transposed(node))
        if may_saturate(weight.T if channels_last else weight):
            yield node


def may_saturate(weight: NDArray[np.int8]) -> bool:
    """Return whether two weights of one output channel, (out, ...), sum to more than a pair of products may."""
    rows = np.sort(weight.astype(np.int32).reshape(len(weight), -1), axis=1)
    if rows.shape[1] < 2:
        return False
    highest, lowest = rows[:, -2:].sum(axis=1), rows[:, :2].sum(axis=1)
    return bool(max(highest.max(), -lowest.min()) > _PAIR_SUM)


def _dequantized(value: str, makers: dict[str, onnx.NodeProto]) -> bool:
    node = makers.get(value)
    while node is not None and node.op_type in _MOVES:
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def _integers(
    value: str, constants: dict[str, onnx.TensorProto], makers: dict[str, onnx.NodeProto]
) -> NDArray[np.int8] | None:
    node, moved = makers.get(value), False
    while node is not None and node.op_type in {*_MOVES, "DequantizeLinear"}:
        moved = moved or node.op_type in _MOVES
        value = node.input[0]
        node = makers.get(value)
    tensor = constants.get(value)
    if tensor is None or tensor.data_type != onnx.TensorProto.INT8 or not tensor.dims:
        return None
    found: NDArray[np.int8] = onnx.numpy_helper.to_array(tensor)
    # Which weights of a moved tensor share a channel is not followed: any two may.
    return found.reshape(1, -1) if moved else found


def _is_depthwise(node: onnx.NodeProto, weight: NDArray[np.int8]) -> bool:
    return "Conv" in node.op_type and weight.ndim > 2 and weight.shape[1] == 1 and _attribute(node, "group", 1) > 1


def _transposed(node: onnx.NodeProto) -> bool:
    return _attribute(node, "transB", 0) == 1


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _advice(inexact: tuple[str, ...], profile: str | None, runtime: str, processor: Processor) -> str:
    suited = suited_profile(runtime, processor)
    if inexact and suited is not None:
        return (
            f"Profile {suited} keeps weights to {_EXACT_BITS} bits, exact in every session: search, train and export "
            "with it for CPUs like this one."
        )
    if profile not in profile_names() or suited in (None, profile):
        return ""
    if saturates(processor):
        return (
            f"Profile {profile} is for other CPUs: no weights of this file saturate in this one's kernels, but those "
            f"of another may; --profile {suited} keeps to {_EXACT_BITS} bits, exact in every session."
        )
    return (
        f"Profile {profile} is for other CPUs: this one multiplies wider weights exactly at the same speed, with "
        f"--profile {suited}."
    )
