"""Scalings and shifts of whole channels, folded into the convolution before or behind them.

Mul, Add, Sub and Div by constants and BatchNormalization are `y = scale x + shift`, one pair of numbers per channel. A
convolution takes them in behind it always, in front of it where no padding would be shifted too. Two or more that no
convolution takes become one BatchNormalization, which runs in a blocked layout too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from qedeploy.export.onnx_networks.editor import GraphEditor, attribute

_ELEMENTWISE = ("Mul", "Add", "Sub", "Div")
_DEFAULT_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Affine:
    """Nodes in a row that together make `scale x + shift`; both (channels,) in float64."""

    nodes: tuple[NodeProto, ...]
    source: str
    result: str
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def fold_affine(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with scalings and shifts of channels folded into convolutions; equal up to rounding."""
    editor = GraphEditor(model)
    visited: set[int] = set()
    for node in list(editor.nodes):
        if id(node) in visited:
            continue
        chain = _chain(editor, node)
        if chain is None or _ends_gelu(editor, chain.source):
            continue
        visited.update(id(item) for item in chain.nodes)
        if not (_fold_back(editor, chain) or _fold_ahead(editor, chain)) and len(chain.nodes) > 1:
            _normalise(editor, chain)
    return editor.model()


def _chain(editor: GraphEditor, first: NodeProto) -> _Affine | None:
    """Return the longest row of affine nodes that begins with `first`, each read by the next alone."""
    found = _single(editor, first)
    while found is not None:
        following = editor.sole_consumer(found.result)
        further = _single(editor, following) if following is not None else None
        if further is None or further.source != found.result:
            break
        found = _Affine(
            nodes=(*found.nodes, *further.nodes),
            source=found.source,
            result=further.result,
            scale=found.scale * further.scale,
            shift=found.shift * further.scale + further.shift,
        )
    return found


def _single(editor: GraphEditor, node: NodeProto) -> _Affine | None:
    if node.op_type == "BatchNormalization":
        return _normalisation(editor, node)
    if node.op_type not in _ELEMENTWISE:
        return None
    first, second = node.input
    source = second if editor.constant(first) is not None else first
    constant = first if source == second else second
    shape = editor.shape(source)
    if editor.constant(source) is not None or shape is None or len(shape) != 4:
        return None
    number = _per_channel(editor, constant, shape)
    if number is None or shape != editor.shape(node.output[0]):
        return None
    ones, zeros = np.ones_like(number), np.zeros_like(number)
    match node.op_type:
        case "Mul":
            scale, shift = number, zeros
        case "Add":
            scale, shift = ones, number
        case "Sub":
            scale, shift = (-ones, number) if source == second else (ones, -number)
        case _:
            if source == second or np.any(number == 0):
                return None
            scale, shift = 1 / number, zeros
    return _Affine(nodes=(node,), source=source, result=node.output[0], scale=scale, shift=shift)


def _per_channel(editor: GraphEditor, name: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return the constant as one number per channel (axis 1 of `shape`), None where it differs within a channel."""
    array = editor.constant(name)
    if array is None or array.dtype != np.float32 or array.ndim > 4:
        return None
    full = array.astype(np.float64).reshape((1,) * (4 - array.ndim) + array.shape)
    if full.shape not in {(1, 1, 1, 1), (1, shape[1], 1, 1)}:
        return None
    return np.broadcast_to(full.reshape(-1), (shape[1],)).copy()


def _normalisation(editor: GraphEditor, node: NodeProto) -> _Affine | None:
    arrays = [editor.constant(name) for name in node.input[1:5]]
    shape = editor.shape(node.input[0])
    if shape is None or len(shape) != 4 or len(node.output) != 1 or any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    epsilon = attribute(node, "epsilon", _DEFAULT_EPSILON)
    scale = gamma / np.sqrt(variance + np.float64(epsilon))
    return _Affine(nodes=(node,), source=node.input[0], result=node.output[0], scale=scale, shift=beta - mean * scale)


def _ends_gelu(editor: GraphEditor, source: str) -> bool:
    """Return whether `source` is the product in `x (1 + erf x) / 2`: the runtime fuses it with the scale behind."""
    product = editor.producer(source)
    if product is None or product.op_type != "Mul":
        return False
    sums = [editor.producer(name) for name in product.input]
    return any(
        before is not None and before.op_type == "Erf"
        for item in sums
        if item is not None and item.op_type == "Add"
        for before in map(editor.producer, item.input)
    )


def _fold_back(editor: GraphEditor, chain: _Affine) -> bool:
    """Let the convolution before the chain compute it; returns whether there is one that nothing else reads."""
    conv = editor.producer(chain.source)
    if conv is None or conv.op_type not in {"Conv", "ConvTranspose"}:
        return False
    operands = _operands(editor, conv)
    if operands is None or editor.sole_consumer(chain.source) is not chain.nodes[0]:
        return False
    weight, bias = operands
    if conv.op_type == "Conv":
        weight = weight * chain.scale[:, None, None, None]
    else:
        # ConvTranspose keeps its weights as (in, out / groups, k, k): the inputs of a group see that group's outputs.
        groups = int(attribute(conv, "group", 1))
        by_group = chain.scale.reshape(groups, 1, -1, 1, 1)
        weight = (weight.reshape(groups, -1, *weight.shape[1:]) * by_group).reshape(weight.shape)
    channels = len(chain.scale)
    before = bias if bias is not None else np.zeros(channels)
    _rewrite(editor, (conv, *chain.nodes), conv, chain.result, (weight, before * chain.scale + chain.shift))
    return True


def _fold_ahead(editor: GraphEditor, chain: _Affine) -> bool:
    """Let the convolution behind the chain compute it; not where its padding of zeros would have to be shifted."""
    conv = editor.sole_consumer(chain.result)
    if conv is None or conv.op_type != "Conv" or conv.input[0] != chain.result:
        return False
    operands = _operands(editor, conv)
    if operands is None or (_pads(conv) and np.any(chain.shift)):
        return False
    weight, bias = operands
    groups = int(attribute(conv, "group", 1))
    outputs, per_group = weight.shape[:2]
    source = np.arange(per_group)[None, :] + per_group * (np.arange(outputs) // (outputs // groups))[:, None]
    shift = np.einsum("oikl,oi->o", weight, chain.shift[source])
    weight = weight * chain.scale[source][:, :, None, None]
    new_bias = shift if bias is None else bias + shift
    _rewrite(editor, (*chain.nodes, conv), conv, conv.output[0], (weight, new_bias), source=chain.source)
    return True


def _normalise(editor: GraphEditor, chain: _Affine) -> None:
    arrays = {
        "scale": chain.scale,
        "shift": chain.shift,
        "mean": np.zeros_like(chain.scale),
        "variance": np.ones_like(chain.scale),
    }
    names = [editor.add_constant(f"{chain.result}.{role}", array.astype(np.float32)) for role, array in arrays.items()]
    node = helper.make_node(
        "BatchNormalization", [chain.source, *names], [chain.result], name=chain.nodes[0].name, epsilon=0.0
    )
    editor.replace(chain.nodes, (node,))


def _operands(editor: GraphEditor, conv: NodeProto) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
    """Return constant weights (4 axes) and bias of a convolution of images in float64, None where they are computed."""
    weight = editor.constant(conv.input[1])
    has_bias = len(conv.input) > 2 and conv.input[2] != ""
    bias = editor.constant(conv.input[2]) if has_bias else None
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32 or (has_bias and bias is None):
        return None
    return weight.astype(np.float64), bias.astype(np.float64) if bias is not None else None


def _pads(conv: NodeProto) -> bool:
    pads = attribute(conv, "pads", ())
    automatic = attribute(conv, "auto_pad", b"NOTSET")
    return any(pads) or automatic not in {b"NOTSET", b"VALID"}


def _rewrite(
    editor: GraphEditor,
    old: tuple[NodeProto, ...],
    conv: NodeProto,
    result: str,
    operands: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    source: str | None = None,
) -> None:
    weight, bias = operands
    node = NodeProto()
    node.CopyFrom(conv)
    del node.input[:], node.output[:]
    node.input.extend(
        [
            source or conv.input[0],
            editor.add_constant(f"{result}.weight", weight.astype(np.float32)),
            editor.add_constant(f"{result}.bias", bias.astype(np.float32)),
        ]
    )
    node.output.append(result)
    editor.replace(old, (node,))
