"""Where the time went: every microsecond of a profiled query belongs to a layer or to a named overhead."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qedeploy.runtimes.node_names import NodeNames, Overhead
from qedeploy.runtimes.runner import NodeTime, ProfiledRun

_ROLES = {"add": Overhead.ADD, "shortcut": Overhead.POOLING, "pool": Overhead.POOLING}
"""What an exported node without a layer is for, by the last part of its name: a pooling can be written as Conv."""

_OF_ANY_MODEL = {Overhead.LAYOUT, Overhead.QUANTIZATION}
"""What is overhead even where nothing says which nodes are layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPart:
    """An overhead with its time per query in seconds, its share of the whole, and its nodes' types."""

    name: str
    seconds: float
    share: float
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPart:
    """A layer with its time per query in seconds, its share of the whole, and its nodes' types.

    Time and share are None where nobody can tell: the layer ran together with others, or in no node of its own. What
    ran together is a part as well, with `layers` its layers; it stands before the first of them.
    """

    name: str
    seconds: float | None
    share: float | None
    nodes: tuple[str, ...]
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """A profiled query in parts. The parts of `layers` and `overheads` sum to `whole` (seconds per query)."""

    layers: tuple[LayerPart, ...]
    overheads: tuple[TimedPart, ...]
    whole: float
    queries: int

    @property
    def total(self) -> float:
        """Return the sum of all parts in seconds."""
        return sum(part.seconds or 0.0 for part in self.layers) + sum(part.seconds for part in self.overheads)


def attribute(profile: ProfiledRun, layers: Collection[str] | None) -> Attribution:
    """Return the parts of `profile`.

    `layers` are the names of a model's layers in execution order. None means that they are unknown: every node that
    is no overhead of any model then stands for itself.
    """
    by_layer: dict[str, list[NodeTime]] = {name: [] for name in layers or ()}
    by_overhead: dict[Overhead, list[NodeTime]] = {}
    groups = _groups(profile.nodes, layers)
    for node in profile.nodes:
        if layers is not None and node.layers:
            by_layer[node.layers[0]].append(node)
            continue
        owner = _owner(node, layers, profile.names)
        if isinstance(owner, Overhead):
            by_overhead.setdefault(owner, []).append(node)
        else:
            by_layer.setdefault(owner, []).append(node)
    whole = profile.whole
    overheads = [_part(kind, by_overhead[kind], whole) for kind in Overhead if kind in by_overhead]
    around = (
        (Overhead.BETWEEN, profile.inside - sum(node.seconds for node in profile.nodes)),
        (Overhead.CALL, whole - profile.inside - profile.interrupted),
        (Overhead.INTERRUPTED, profile.interrupted),
    )
    for kind, seconds in around if profile.around else ():
        overheads.append(TimedPart(name=kind, seconds=seconds, share=seconds / whole, nodes=()))
    return Attribution(
        layers=tuple(_layer_parts(by_layer, groups, whole)),
        overheads=tuple(overheads),
        whole=whole,
        queries=profile.queries,
    )


def _owner(node: NodeTime, layers: Collection[str] | None, names: NodeNames) -> str | Overhead:
    kind = names.overheads.get(node.op_type)
    if layers is None:
        return kind if kind in _OF_ANY_MODEL else node.name
    name = exported_name(node.name, names)
    return kind or layer_of(name, layers) or _ROLES.get(name.rpartition(".")[2], Overhead.OTHER)


def exported_name(node_name: str, names: NodeNames) -> str:
    """Return the name a node had in the file, without what its runtime put behind it."""
    return re.sub(names.added, "", node_name) if names.added else node_name


def layer_of(name: str, layers: Collection[str]) -> str | None:
    """Return the layer whose name `name` is or begins with, as the values behind a layer do (`stem.relu`), or None."""
    while name:
        if name in layers:
            return name
        name = name.rpartition(".")[0]
    return None


def _groups(nodes: Iterable[NodeTime], layers: Collection[str] | None) -> list[tuple[str, ...]]:
    """Return the layers that nodes compute together, each layer in one group at the most, in execution order."""
    groups: list[set[str]] = []
    for node in nodes:
        if layers is None or len(node.layers) < 2:
            continue
        joined = set(node.layers)
        for group in [group for group in groups if group & joined]:
            joined |= group
            groups.remove(group)
        groups.append(joined)
    return [tuple(name for name in layers or () if name in group) for group in groups]


def _layer_parts(
    by_layer: Mapping[str, list[NodeTime]], groups: Iterable[tuple[str, ...]], whole: float
) -> Iterator[LayerPart]:
    group_of = {name: group for group in groups for name in group}
    for name, nodes in by_layer.items():
        group = group_of.get(name, ())
        if group and name == group[0]:
            yield _layer_part(group_name(group), [node for member in group for node in by_layer[member]], whole, group)
        yield _layer_part(name, [] if group else nodes, whole)


def _layer_part(name: str, nodes: list[NodeTime], whole: float, layers: tuple[str, ...] = ()) -> LayerPart:
    if not nodes:
        return LayerPart(name=name, seconds=None, share=None, nodes=())
    part = _part(name, nodes, whole)
    return LayerPart(name=name, seconds=part.seconds, share=part.share, nodes=part.nodes, layers=layers)


def group_name(layers: Sequence[str]) -> str:
    """Return what layers that run together are called.

    >>> group_name(["stem", "stage1.block1.expand", "head"])
    'stem to head (3 layers together)'
    """
    return f"{layers[0]} to {layers[-1]} ({len(layers)} layers together)"


def _part(name: str, nodes: list[NodeTime], whole: float) -> TimedPart:
    seconds = sum(node.seconds for node in nodes)
    return TimedPart(name=name, seconds=seconds, share=seconds / whole, nodes=tuple(node.op_type for node in nodes))
