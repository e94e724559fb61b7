"""Joining an engine's layers to ours: which kernel computed which layer, in what precision, in what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qedeploy.runtimes.runner import NodeTime
from qedeploy.runtimes.tensorrt.inspector import EngineDescription, EngineLayer
from qedeploy.runtimes.tensorrt.messages import layers_of, node_names

_QUANTIZERS = {"quantize", "dequantize", "clip", "cast"}
_REFORMAT = "Reformat"
_QUANTIZE = "QuantizeLinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """A layer of an engine with its time per query in seconds (None where the profiler did not name it).

    `layers` are ours that it computes; empty for overhead. Types are "" where the engine does not tell.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    nodes: tuple[str, ...]
    input_type: str
    weight_type: str
    output_type: str
    tactic: str
    reformat: bool
    quantizer: bool
    seconds: float | None

    @property
    def int8(self) -> bool:
        """Return whether it multiplies in INT8: reads int8, and has int8 weights as far as it tells."""
        return self.input_type == "int8" and self.weight_type in {"int8", ""}


def join(
    description: EngineDescription | None, seconds: Mapping[str, float], layers: Sequence[str]
) -> tuple[EngineRow, ...]:
    """Return the rows of an engine: its layers in order, then what the profiler named and the inspector did not.

    `seconds` are times by the engine's own names; `layers` are our layers' names.
    """
    known = description.layers if description is not None else ()
    rows = [_row(layer, seconds.get(layer.name), layers) for layer in known]
    names = {layer.name for layer in known}
    rows += [_unknown(name, time, layers) for name, time in seconds.items() if name not in names]
    return tuple(rows)


def node_times(rows: Sequence[EngineRow], macs: Mapping[str, int]) -> tuple[NodeTime, ...]:
    """Return the timed rows as nodes under our layers' names; one that computes several is split by their MACs."""
    nodes: list[NodeTime] = []
    for row in rows:
        if row.seconds is None:
            continue
        total = sum(macs.get(name, 0) for name in row.layers)
        if not row.layers or not total:
            nodes.append(NodeTime(name=_overhead_name(row), op_type=_op_type(row), seconds=row.seconds))
            continue
        for name in row.layers:
            share = macs.get(name, 0) / total
            nodes.append(NodeTime(name=name, op_type=row.kind or "engine layer", seconds=row.seconds * share))
    return tuple(nodes)


def rows_of_layer(rows: Sequence[EngineRow], layer: str) -> tuple[EngineRow, ...]:
    """Return the rows that compute `layer`."""
    return tuple(row for row in rows if layer in row.layers)


def _row(layer: EngineLayer, seconds: float | None, layers: Sequence[str]) -> EngineRow:
    quantizer = bool(layer.nodes) and all(node.rpartition(".")[2] in _QUANTIZERS for node in layer.nodes)
    own = () if layer.reformat or quantizer else _own_layers(layer, layers)
    outputs = [tensor.data_type for tensor in layer.outputs]
    return EngineRow(
        name=layer.name,
        kind=layer.kind,
        layers=own,
        nodes=layer.nodes,
        input_type=layer.inputs[0].data_type if layer.inputs else "",
        weight_type=layer.weight_type or "",
        output_type=outputs[0] if outputs else "",
        tactic=layer.tactic,
        reformat=layer.reformat,
        quantizer=quantizer and not layer.reformat,
        seconds=seconds,
    )


def _own_layers(layer: EngineLayer, layers: Sequence[str]) -> tuple[str, ...]:
    # A layer's own node says who computes; helpers (a ReLU alone, an add) are told by their names in the report.
    return tuple(dict.fromkeys(node for node in layer.nodes if node in set(layers)))


def _unknown(name: str, seconds: float, layers: Sequence[str]) -> EngineRow:
    nodes = node_names(name)
    reformat = "reformat" in name.lower()
    whole = tuple(dict.fromkeys(node for node in nodes if node in set(layers)))
    foreign = layers_of(name, layers) if "ForeignNode" in name else ()
    return EngineRow(
        name=name,
        kind=_REFORMAT if reformat else "",
        layers=() if reformat else whole or foreign,
        nodes=nodes,
        input_type="",
        weight_type="",
        output_type="",
        tactic="",
        reformat=reformat,
        quantizer=all(node.rpartition(".")[2] in _QUANTIZERS for node in nodes),
        seconds=seconds,
    )


def _op_type(row: EngineRow) -> str:
    if row.reformat:
        return _REFORMAT
    if row.quantizer:
        return _QUANTIZE
    if row.nodes and all(node.endswith((".relu", ".relu6")) for node in row.nodes):
        return "Relu"
    return row.kind or "engine layer"


def _overhead_name(row: EngineRow) -> str:
    # The attribution reads roles from names: `stage1.block1.add`, `pool`.
    roles = [node for node in row.nodes if node.rpartition(".")[2] in {"add", "shortcut", "pool"}]
    return roles[0] if roles and not row.reformat else row.name
