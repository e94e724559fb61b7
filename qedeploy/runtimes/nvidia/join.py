"""Joining an engine's layers to ours: which kernel computed which layers, in what precision, in what time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from qedeploy.qdq.graph_builder import owner
from qedeploy.runtimes.nvidia.engine_names import (
    EngineName,
    Region,
    names_nothing,
    parse_engine_name,
    without_profile,
)
from qedeploy.runtimes.nvidia.inspector import EngineDescription, EngineLayer
from qedeploy.runtimes.runner import NodeTime

_QUANTIZERS = {"quantize", "dequantize", "clip", "cast"}
_REFORMAT = "Reformat"
_QUANTIZE = "QuantizeLinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """A layer of an engine with its time per query in seconds (None where the profiler did not name it).

    `layers` are ours that it computes; empty for overhead. Of several nobody can tell which took what of the time.
    Types are "" where the engine does not tell.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What an engine was built from, as far as names go: `steps` are operations in execution order, layers among them.

    Both are empty where nothing is known of it.
    """

    steps: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def join(
    description: EngineDescription | None, seconds: Mapping[str, float], network: Network
) -> tuple[EngineRow, ...]:
    """Return the rows of an engine: its layers in order, then what the profiler named and the inspector did not.

    `seconds` are times by the engine's own names; none at all is no measurement. Of an engine with several optimisation
    profiles the rows are those of the profile that was timed.
    """
    known = _timed_layers(description.layers if description is not None else (), seconds)
    times = {without_profile(name): time or None for name, time in seconds.items()}
    described = {without_profile(layer.name) for layer in known}
    unknown = {name: parse_engine_name(name) for name in seconds if without_profile(name) not in described}
    # A region is everything between its ends but what other kernels say that they compute.
    parts = (*(layer.parts for layer in known if not layer.reformat), *unknown.values())
    own = {node for part in parts if not part.reformat for node in part.nodes}
    rows = [_row(layer, times.get(without_profile(layer.name)), network, own) for layer in known]
    rows += [_unknown(name, parts, seconds[name] or None, network, own) for name, parts in unknown.items()]
    return tuple(rows)


def timed_profiles(names: Sequence[str]) -> tuple[int, ...]:
    """Return the optimisation profiles that an engine's names are of, 0 for the first."""
    return tuple(sorted({parse_engine_name(name).profile for name in names}))


def of_another_network(names: Sequence[str], network: Network) -> bool:
    """Return whether an engine's names tell of a network, and none of them of this one."""
    told = [node for name in names for node in parse_engine_name(name).mentioned if not names_nothing(node)]
    return bool(told) and bool(network.steps) and not any(_place(node, network) is not None for node in told)


def node_times(rows: Sequence[EngineRow]) -> tuple[NodeTime, ...]:
    """Return the timed rows as nodes under our layers' names; one that computes several names them all."""
    nodes: list[NodeTime] = []
    for row in rows:
        if row.seconds is None:
            continue
        kind = row.kind or "engine layer"
        if not row.layers:
            nodes.append(NodeTime(name=_overhead_name(row), op_type=_op_type(row), seconds=row.seconds))
        elif len(row.layers) == 1:
            nodes.append(NodeTime(name=row.layers[0], op_type=kind, seconds=row.seconds))
        else:
            nodes.append(NodeTime(name=row.name, op_type=kind, seconds=row.seconds, layers=row.layers))
    return tuple(nodes)


def rows_of_layer(rows: Sequence[EngineRow], layer: str) -> tuple[EngineRow, ...]:
    """Return the rows that compute `layer`."""
    return tuple(row for row in rows if layer in row.layers)


def _timed_layers(layers: Sequence[EngineLayer], seconds: Mapping[str, float]) -> Sequence[EngineLayer]:
    profiles = timed_profiles(list(seconds))
    chosen = [layer for layer in layers if layer.parts.profile in profiles]
    return chosen or layers


def _row(layer: EngineLayer, seconds: float | None, network: Network, own: set[str]) -> EngineRow:
    nodes = layer.parts.mentioned
    quantizer = bool(nodes) and all(_is_quantizer(node) for node in nodes) and not layer.parts.regions
    outputs = [tensor.data_type for tensor in layer.outputs]
    # What goes into a region and comes out of it says nothing of the types inside.
    typed = not layer.parts.regions
    return EngineRow(
        name=layer.name,
        kind=layer.kind,
        layers=() if layer.reformat or quantizer else _own_layers(layer.parts, network, own),
        nodes=nodes,
        input_type=layer.inputs[0].data_type if layer.inputs and typed else "",
        weight_type=layer.weight_type or "",
        output_type=outputs[0] if outputs and typed else "",
        tactic=layer.tactic,
        reformat=layer.reformat,
        quantizer=quantizer and not layer.reformat,
        seconds=seconds,
    )


def _unknown(name: str, parts: EngineName, seconds: float | None, network: Network, own: set[str]) -> EngineRow:
    reformat = parts.reformat or "reformat" in name.lower()
    quantizer = not parts.regions and all(_is_quantizer(node) for node in parts.mentioned)
    return EngineRow(
        name=name,
        kind=_REFORMAT if reformat else "",
        layers=() if reformat or quantizer else _own_layers(parts, network, own),
        nodes=parts.mentioned,
        input_type="",
        weight_type="",
        output_type="",
        tactic="",
        reformat=reformat,
        quantizer=quantizer,
        seconds=seconds,
    )


def _is_quantizer(node: str) -> bool:
    return node.rpartition(".")[2] in _QUANTIZERS


def _own_layers(parts: EngineName, network: Network, own: set[str]) -> tuple[str, ...]:
    # A layer's own node says who computes; helpers (a ReLU alone, an add) are told by their names in the report.
    known = set(network.layers)
    found = {node for node in parts.nodes if node in known}
    for region in parts.regions:
        found.update(_between(region, network, own))
    return tuple(layer for layer in network.layers if layer in found)


def _between(region: Region, network: Network, own: set[str]) -> Iterator[str]:
    """Yield the layers of a region; an end that nobody knows is open to its side.

    Between two such ends lies whatever no other kernel says that it computes: it ran somewhere.
    """
    first = [place for node in region.first if (place := _place(node, network)) is not None]
    last = [place for node in region.last if (place := _place(node, network)) is not None]
    start, stop = min(first, default=0), max(last, default=len(network.steps) - 1)
    for step in network.steps[min(start, stop) : max(start, stop) + 1]:
        if step in network.layers and step not in own:
            yield step


def _place(node: str, network: Network) -> int | None:
    """Return where in the order of execution a node stands, None where it is of none of the network's steps."""
    for name in (node, owner(node)):
        if name in network.steps:
            return network.steps.index(name)
    return None


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
