"""What each part of a network takes in a run without a profiler, read from a profiled pass."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from qedeploy.bench.attribution.attribution import exported_name, layer_of
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Structure
from qedeploy.runtimes.node_names import NodeNames
from qedeploy.runtimes.runner import NodeTime, ProfiledRun

SHORTCUT = "shortcut"
"""Last part of the name that a block's addition and its pooled shortcut go under."""

_LEAST_SHARE = 0.1
"""What of a node's profiled time stays with it at the least."""

_ROLES = {"add", SHORTCUT}
_WORD = re.compile(r"[\w.]+")


def undisturbed(profile: ProfiledRun, wall: float) -> tuple[NodeTime, ...]:
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


def seconds_by_part(nodes: Iterable[NodeTime], structure: Structure, names: NodeNames) -> dict[str, float]:
    """Return the seconds of each part of `structure`: its layers, and `<block>.shortcut` for residual blocks.

    Every node counts for one part, so that the parts sum to the nodes; a part without a node (fused into another) has
    zero. What rounds or clips a value counts for the layer that reads it, the image's layout for the stem, an addition
    and a pooled shortcut for the shortcut, the global pooling and all behind it for the classifier. A node that no
    name connects to a part, such as a change of layout, counts for the part before it, or else behind it. What computes
    several layers together is shared by their multiply-accumulates.
    """
    layers = expand_layers(structure)
    macs = {layer.name: layer.macs for layer in layers}
    found: dict[str, float] = {}
    for layer in layers:
        found[layer.name] = 0.0
        if layer.residual and layer.name.endswith(".project"):
            found[f"{layer.block}.{SHORTCUT}"] = 0.0
    current, waiting = "", 0.0
    for node in nodes:
        if node.layers:
            # No runtime says more of layers that run together than that their time is in proportion to their work.
            total = sum(macs[name] for name in node.layers)
            for name in node.layers:
                found[name] += (node.seconds + waiting) * macs[name] / total
            current, waiting = node.layers[-1], 0.0
            continue
        owner = _part_of(node.name, found, names)
        if owner is None and (not current or node.op_type in names.leading):
            waiting += node.seconds
            continue
        current = owner or current
        found[current] += node.seconds + waiting
        waiting = 0.0
    found[current or layers[0].name] += waiting
    return found


def _part_of(node_name: str, parts: Collection[str], names: NodeNames) -> str | None:
    # An engine names a layer by the nodes that it computes, and says "to" or "for" in front of them.
    for word in _WORD.findall(node_name):
        name = exported_name(word, names)
        if ".unpack." in name:
            # Named after the reader of the value, and there because the stem works on packed columns.
            return LayerCategory.STEM
        part = layer_of(name, parts) or _role_of(name, parts)
        if part is not None:
            return part
    return None


def _role_of(name: str, parts: Collection[str]) -> str | None:
    if name.partition(".")[0] in {"pool", "logits"}:
        return LayerCategory.CLASSIFIER
    words = name.split(".")
    role = next((place for place, word in enumerate(words) if word in _ROLES), None)
    block = None if role is None else ".".join((*words[:role], SHORTCUT))
    return block if block in parts else None
