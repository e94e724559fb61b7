"""What each part of a network takes in a run without a profiler, read from a profiled pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from qedeploy.bench.attribution.attribution import exported_name, layer_of
from qedeploy.network.graph import Graph
from qedeploy.network.layers import Position
from qedeploy.network.operations import consumers
from qedeploy.network.shortcuts import shortcuts
from qedeploy.runtimes.node_names import NodeNames
from qedeploy.runtimes.runner import NodeTime, ProfiledRun

_OUTPUT = "logits"
"""Name of the graph's output in a file."""

_LEAST_SHARE = 0.1
"""What of a node's profiled time stays with it at the least."""

_WORD = re.compile(r"[\w.]+")


def without_overhead(profile: ProfiledRun, wall: float) -> tuple[NodeTime, ...]:
    """Return the nodes with their times as they are without the profiler, where a query takes `wall` seconds.

    A profiler slows every node by about as much, so what the nodes take beyond `wall` is taken from all alike, though
    a node keeps at least a tenth of its time; where they take less, the time between them is given to all alike. The
    times sum to `wall` unless every node is down to its tenth.
    """
    floors = {place: node.seconds * _LEAST_SHARE for place, node in enumerate(profile.nodes)}
    free, left, excess = set(floors), wall, 0.0
    while free:
        excess = (sum(profile.nodes[place].seconds for place in sorted(free)) - left) / len(free)
        held = {place for place in free if profile.nodes[place].seconds - excess < floors[place]}
        if not held:
            break
        free -= held
        left -= sum(floors[place] for place in sorted(held))
    return tuple(
        replace(node, seconds=node.seconds - excess if place in free else floors[place])
        for place, node in enumerate(profile.nodes)
    )


def seconds_by_part(nodes: Iterable[NodeTime], graph: Graph, names: NodeNames) -> dict[str, float]:
    """Return the seconds of each part of `graph`: its layers, and its shortcuts (`<block>.shortcut`).

    Every node counts for one part, so that the parts sum to the nodes; a part without a node (fused into another) has
    zero. What rounds or clips a value counts for the layer that reads it, the image's layout for the stem, an addition
    and a pooled shortcut for the shortcut, a pooling for the layer behind it, all behind the last layer for that. A
    node that no name connects to a part, such as a change of layout, counts for the part before it, or else behind it.
    What computes several layers together is shared by their multiply-accumulates.
    """
    owners = _owners(graph)
    found = dict.fromkeys(owners.values(), 0.0)
    macs = {layer.name: layer.macs for layer in graph.layers}
    stem = next((layer.name for layer in graph.layers if layer.position is Position.STEM), None)
    current, waiting = "", 0.0
    for node in nodes:
        if node.layers:
            # No runtime says more of layers that run together than that their time is in proportion to their work.
            total = sum(macs[name] for name in node.layers)
            for name in node.layers:
                found[owners[name]] += (node.seconds + waiting) * macs[name] / total
            current, waiting = owners[node.layers[-1]], 0.0
            continue
        owner = _part_of(node.name, owners, stem, names)
        if owner is None and (not current or node.op_type in names.leading):
            waiting += node.seconds
            continue
        current = owner or current
        found[current] += node.seconds + waiting
        waiting = 0.0
    found[current or next(iter(found))] += waiting
    return found


def _owners(graph: Graph) -> dict[str, str]:
    """Return the part that each operation, and the graph's output, counts for, by name; parts in execution order."""
    cuts = shortcuts(graph)
    added = {cut.addition.name: cut.name for cut in cuts}
    pooled = {cut.pool.name: cut.name for cut in cuts if cut.pool is not None}
    readers = consumers(graph.operations)
    owners = {
        step.name: step.name if step.layer is not None else added[step.name]
        for step in graph.operations
        if step.layer is not None or step.name in added
    }
    *_, last = owners.values()
    others = {
        step.name: pooled.get(step.name) or readers.get(step.name) or last
        for step in graph.operations
        if step.name not in owners
    }
    return {**owners, **others, **{cut.name: cut.name for cut in cuts}, _OUTPUT: last}


def _part_of(node_name: str, owners: Mapping[str, str], stem: str | None, names: NodeNames) -> str | None:
    # An engine names a layer by the nodes that it computes, and says "to" or "for" in front of them.
    for word in _WORD.findall(node_name):
        name = exported_name(word, names)
        if ".unpack." in name and stem is not None:
            # Named after the reader of the value, and there because the stem works on packed columns.
            return stem
        known = layer_of(name, owners)
        if known is not None:
            return owners[known]
    return None
