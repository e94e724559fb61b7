"""Hard activations spelled in four nodes, written as HardSigmoid (and Mul): the form that runtimes fuse.

`Clip(x + b, 0, m) / m` is HardSigmoid with alpha 1/m and beta b/m; times x it is a hard swish. Exporters write both as
Add, Clip, Mul and Div in any order; a runtime then runs each node on its own, over the whole feature map.
"""

from __future__ import annotations

import math

import onnx
from onnx import NodeProto, helper

from qedeploy.export.onnx_networks.editor import GraphEditor


def fuse_hard_activations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with every hard sigmoid and hard swish in the form that is fused; the numbers stay the same."""
    editor = GraphEditor(model)
    for clip in [node for node in editor.nodes if node.op_type == "Clip"]:
        _rewrite(editor, clip)
    return editor.model()


def _rewrite(editor: GraphEditor, clip: NodeProto) -> None:
    bounds = [editor.scalar(name) if name else None for name in (*clip.input[1:], "", "")[:2]]
    low, high = bounds
    shift = editor.producer(clip.input[0])
    after = editor.sole_consumer(clip.output[0])
    if low != 0 or not high or high < 0 or shift is None or after is None:
        return
    moved = _shifted(editor, shift)
    if moved is None or editor.sole_consumer(shift.output[0]) is not clip:
        return
    source, offset = moved
    alpha, beta = 1 / high, offset / high
    if _divides(editor, after, clip.output[0], high):
        fused = helper.make_node(
            "HardSigmoid", [source], [after.output[0]], name=after.output[0], alpha=alpha, beta=beta
        )
        editor.replace((shift, clip, after), (fused,))
        return
    scaling = editor.sole_consumer(after.output[0])
    if after.op_type != "Mul" or set(after.input) != {source, clip.output[0]} or scaling is None:
        return
    if _divides(editor, scaling, after.output[0], high):
        result = scaling.output[0]
        gate = editor.free_name(f"{result}.gate")
        fused = helper.make_node("HardSigmoid", [source], [gate], name=gate, alpha=alpha, beta=beta)
        product = helper.make_node("Mul", [source, gate], [result], name=result)
        editor.replace((shift, clip, after, scaling), (fused, product))


def _shifted(editor: GraphEditor, node: NodeProto) -> tuple[str, float] | None:
    """Return x and b of `x + b`."""
    if node.op_type != "Add":
        return None
    for value, constant in (node.input, reversed(node.input)):
        offset = editor.scalar(constant)
        if offset is not None and editor.constant(value) is None:
            return value, offset
    return None


def _divides(editor: GraphEditor, node: NodeProto, value: str, divisor: float) -> bool:
    """Return whether `node` is `value / divisor`, or the product with its inverse."""
    if node.op_type == "Div" and node.input[0] == value:
        found = editor.scalar(node.input[1])
        return found is not None and math.isclose(found, divisor, rel_tol=1e-6)
    if node.op_type == "Mul" and value in node.input:
        other = node.input[1] if node.input[0] == value else node.input[0]
        found = editor.scalar(other)
        return found is not None and math.isclose(found, 1 / divisor, rel_tol=1e-6)
    return False
