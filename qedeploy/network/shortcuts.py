"""The shortcuts of a Graph: its additions, each with what is pooled for it and the layer that its time is added to."""

from __future__ import annotations

from dataclasses import dataclass

from qedeploy.network.graph import Graph
from qedeploy.network.layers import Layer
from qedeploy.network.operations import Operation, OperationKind

SHORTCUT = "shortcut"
"""Last part of the name that a block's addition and its pooled shortcut go under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """An addition. `pool` is what averages its second input, None where nothing does.

    `name` is `<block>.shortcut` for an addition `<block>.add`; `layer` the one before it on the branch with weights.
    """

    name: str
    addition: Operation
    pool: Operation | None
    layer: Layer


def shortcuts(graph: Graph) -> tuple[Shortcut, ...]:
    """Return the additions of `graph` in execution order; one of values that no layer has made is none."""
    makers = graph.makers()
    found = []
    for step in graph.operations:
        if step.kind is not OperationKind.ADD:
            continue
        pool, branch = makers.get(step.inputs[1]), makers.get(step.inputs[0])
        while branch is not None and branch.layer is None:
            branch = makers.get(branch.inputs[0])
        if branch is not None and branch.layer is not None:
            pooled = pool is not None and pool.kind is OperationKind.AVERAGE_POOL
            name = f"{step.name.removesuffix('.add')}.{SHORTCUT}"
            found.append(Shortcut(name=name, addition=step, pool=pool if pooled else None, layer=branch.layer))
    return tuple(found)
