"""Layers of files that are not ours: whose a profiled node is, what it costs, which quantized ones miss integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from qedeploy.bench.attribution.attribution import Attribution, exported_name
from qedeploy.bench.attribution.estimates import LayerEstimate, estimate_use, product_bitops
from qedeploy.network.structure import Bits
from qedeploy.runtimes.node_names import NodeNames
from qedeploy.runtimes.runner import NodeTime, ProfiledRun
from qedeploy.words import counted

if TYPE_CHECKING:
    from qedeploy.export.onnx_networks.layer_table import FileLayers

_INTEGER = Bits(weight=8, activation=8)
"""What kernels compute in that multiply integers."""

_SHOWN = 4


def with_owners(profile: ProfiledRun, layers: FileLayers) -> ProfiledRun:
    """Return `profile` with each node that computes a layer marked as that layer's.

    A node goes by the name of its layer, or by the value that the last operator fused into it makes. Files without
    names leave neither: nodes and layers that are left are paired in execution order, where there are as many.
    """
    owners = [_owner(node, layers, profile.names) for node in profile.nodes]
    computing = [layers.computes(node.op_type) for node in profile.nodes]
    open_nodes = [index for index, owner in enumerate(owners) if owner is None and computing[index]]
    open_layers = [item.name for item in layers.layers if item.name not in owners]
    if len(open_nodes) == len(open_layers):
        for index, name in zip(open_nodes, open_layers, strict=True):
            owners[index] = name
    nodes = tuple(
        node if owner is None else dataclasses.replace(node, layers=(owner,))
        for node, owner in zip(profile.nodes, owners, strict=True)
    )
    return dataclasses.replace(profile, nodes=nodes)


def file_estimates(layers: FileLayers, attribution: Attribution, names: NodeNames) -> tuple[LayerEstimate, ...]:
    """Return what each layer costs: at 8 bits where it is quantized in the file, executed as its nodes show."""
    nodes = {part.name: part.nodes for part in attribution.layers}
    found = []
    for layer in layers.layers:
        integer = in_integers(nodes.get(layer.name, ()), names)
        found.append(
            estimate_use(
                layer.use,
                layer.use.layer.bits if layer.quantized else None,
                _INTEGER if integer else None,
                bitops=product_bitops,
                lowering="int8" if integer else "float32",
            )
        )
    return tuple(found)


def file_findings(layers: FileLayers, attribution: Attribution, names: NodeNames) -> tuple[str, ...]:
    """Return which quantized layers run in integers, and why the others do not; nothing for a float file."""
    quantized = [layer for layer in layers.layers if layer.quantized]
    nodes = {part.name: part.nodes for part in attribution.layers}
    floats = [layer for layer in quantized if not in_integers(nodes.get(layer.name, ()), names)]
    if not quantized or names.integer is None:
        return ()
    running = len(quantized) - len(floats)
    sentences = [f"{running} of {counted(len(quantized), 'quantized layer')} run in integers."]
    reasons: dict[str, list[str]] = {}
    for layer in floats:
        reasons.setdefault(layer.obstacle or "the runtime did not take it, and the graph does not show why", []).append(
            layer.name
        )
    for reason, concerned in sorted(reasons.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(concerned[:_SHOWN]) + (f" and {len(concerned) - _SHOWN} more" if concerned[_SHOWN:] else "")
        sentences.append(f"Not in integers: {shown}: {reason}.")
    return tuple(sentences)


def in_integers(nodes: Sequence[str], names: NodeNames) -> bool:
    """Return whether one of these types of nodes computes with integers."""
    parts: Collection[str] = names.integer or ()
    return any(part in node for node in nodes for part in parts)


def _owner(node: NodeTime, layers: FileLayers, names: NodeNames) -> str | None:
    if not layers.computes(node.op_type):
        return None
    return layers.owner(exported_name(node.name, names))
