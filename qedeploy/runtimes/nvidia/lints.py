"""What makes an INT8 engine slower than it could be, as sentences that name the layer. Pitfalls of public reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qedeploy.network.layers import Layer, LayerKind, Position
from qedeploy.network.operations import consumers
from qedeploy.profiles.profile import Lowering
from qedeploy.qdq.metadata import ModelMetadata
from qedeploy.qdq.plan import LayerPlan
from qedeploy.runtimes.nvidia.join import EngineRow
from qedeploy.words import listed

_TENSOR_CORE = re.compile(r"imma|hmma|xmma|i8?88|884|1688|16816|tensor ?op|gemm_mma", re.IGNORECASE)
_WHOLE_CHANNELS = 16
"""Channels that INT8 tensor core kernels take at a time; 8 for float16."""

_SMALL_KERNEL = 3
"""Side of the largest depthwise kernel with an INT8 kernel among those of the 11.4 lean library."""


def lint(rows: Sequence[EngineRow], metadata: ModelMetadata | None) -> tuple[str, ...]:
    """Return what is worth mending in an engine; without `metadata` only what its own layers tell."""
    found = [*_float32(rows), *_quantizers(rows), *_reformats(rows)]
    if metadata is None:
        return tuple(found)
    layers = {layer.name: layer for layer in metadata.graph.layers}
    computed = [(layers[name], row) for row in rows for name in row.layers]
    found += [*_float_outputs(computed, _quantized_readers(metadata)), *_no_tensor_cores(computed), *_narrow(computed)]
    found += [*_lone_adds(rows), *_untold(rows)]
    return tuple(found)


def why_not_int8(layer: Layer, plan: LayerPlan, rows: Sequence[EngineRow], dropped: Sequence[str]) -> str | None:
    """Return why `layer` does not run in INT8 though it was planned so, None where it does or was not meant to.

    `rows` are the engine's that compute it. A reason that TensorRT does not give is one that the layer's shape
    suggests, and says so.
    """
    if layer.name in dropped:
        return "the builder found no INT8 kernel on this GPU, so its Q/DQ was dropped"
    if plan.lowering is not Lowering.INT8 or any(row.int8 for row in rows):
        return None
    if not rows:
        return "no layer of the engine names it: was it built with detailed profiling verbosity, from this graph?"
    got = rows[0].input_type
    return f"runs in {got}; {_suspicion(layer)}" if got else None


def _suspicion(layer: Layer) -> str:
    if layer.kind is LayerKind.DEPTHWISE and max(layer.window.kernel) > _SMALL_KERNEL:
        size = "x".join(map(str, layer.window.kernel))
        return (
            f"likely for want of a kernel: of {size} depthwise INT8 kernels none was found in TensorRT 11.4, only 1x1 "
            "and 3x3"
        )
    if layer.kind is LayerKind.DEPTHWISE and layer.in_channels % 4:
        return f"likely for its {layer.in_channels} channels: INT8 depthwise kernels take 4 at a time"
    narrow = [count for count in (layer.in_channels, layer.out_channels) if count % _WHOLE_CHANNELS]
    if narrow:
        return f"perhaps for its {narrow[0]} channels, no multiple of {_WHOLE_CHANNELS}: padding eats what INT8 gains"
    return "perhaps because another kernel was faster: a small layer at batch 1 is bound by its launch"


_Computed = Sequence[tuple[Layer, EngineRow]]
"""Our layers, each with the row of the engine that computes it."""


def _float_outputs(computed: _Computed, readers: Mapping[str, str]) -> list[str]:
    names = [
        layer.name
        for layer, row in computed
        if row.int8 and row.output_type.startswith("float") and layer.name in readers
    ]
    if not names:
        return []
    return [
        f"{listed(names)}: INT8 in and floating point out, so the Q behind did not fuse; a residual add whose shortcut "
        "is not quantized does this"
    ]


def _untold(rows: Sequence[EngineRow]) -> list[str]:
    names = [name for row in rows if row.layers and not row.input_type for name in row.layers]
    # An engine without any types is an engine without details, which is said elsewhere.
    if not names or not any(row.kind for row in rows):
        return []
    return [f"{listed(names)}: the engine does not tell in which types they run"]


def _no_tensor_cores(computed: _Computed) -> list[str]:
    names = [
        f"{layer.name} ({row.tactic})"
        for layer, row in computed
        if layer.kind is not LayerKind.DEPTHWISE
        and row.tactic
        and not row.tactic.startswith("0x")
        and not _TENSOR_CORE.search(row.tactic)
    ]
    return [f"{listed(names)}: kernels that use no tensor cores"] if names else []


def _narrow(computed: _Computed) -> list[str]:
    # Three channels of an image and the classes of a task are nobody's to choose, and depthwise kernels take any four.
    fixed = {Position.STEM, Position.CLASSIFIER}
    names = [
        f"{layer.name} ({layer.in_channels} to {layer.out_channels})"
        for layer, row in computed
        if row.int8
        and layer.position not in fixed
        and layer.kind is not LayerKind.DEPTHWISE
        and (layer.in_channels % _WHOLE_CHANNELS or layer.out_channels % _WHOLE_CHANNELS)
    ]
    return (
        [f"{listed(names)}: INT8 kernels take {_WHOLE_CHANNELS} channels at a time and pad the rest"] if names else []
    )


def _float32(rows: Sequence[EngineRow]) -> list[str]:
    names = [row.name for row in rows if row.input_type == "float32" and not row.reformat and not row.quantizer]
    if not names:
        return []
    return [f"{listed(names)} in float32: eight times slower than float16 on a T4's tensor cores"]


def _quantizers(rows: Sequence[EngineRow]) -> list[str]:
    names = [row.name for row in rows if row.quantizer]
    return [f"{listed(names)} as kernels of their own: Q/DQ that fused with nothing"] if names else []


def _reformats(rows: Sequence[EngineRow]) -> list[str]:
    names = [row.name for row in rows if row.reformat and row.input_type != row.output_type and row.output_type]
    return [f"{listed(names)}: reformats that change the type, where INT8 and float16 regions meet"] if names else []


def _lone_adds(rows: Sequence[EngineRow]) -> list[str]:
    names = [row.name for row in rows if not row.layers and any(node.endswith(".add") for node in row.nodes)]
    return (
        [f"{listed(names)}: residual adds that fused with no convolution; is the shortcut quantized?"] if names else []
    )


def _quantized_readers(metadata: ModelMetadata) -> Mapping[str, str]:
    """Return the values that a layer reads through a quantizer, with that layer, by the layer that makes them."""
    quantized = {value.name for value in metadata.plan.values}
    steps = metadata.graph.operations
    readers = {name: reader for name, reader in consumers(steps).items() if name in quantized}
    # A convolution that ends in an add writes what the add's reader wants.
    for step in steps:
        if step.name in readers and step.layer is None:
            readers[step.inputs[0]] = readers[step.name]
    return readers
