"""The Graph: a network as operations in execution order, the one thing that every step from weights to report takes.

A Structure makes one; any other network needs only to be read into one.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from qedeploy.errors import UserError
from qedeploy.network.layers import Dimensions, Layer, LayerKind, Position, expand_layers
from qedeploy.network.operations import IMAGE, Operation, OperationKind
from qedeploy.network.structure import Activation, Bits, Structure

_NAME = re.compile(r"[\w.]+")
_WEIGHTED = (OperationKind.CONVOLUTION, OperationKind.LINEAR)


class GraphError(UserError, ValueError):
    """Operations that are no network: the message names the operation and what was expected of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operations in execution order, from the value `image` of sizes `input` to what the last of them makes.

    Every value is read behind the operation that makes it, in the sizes in which it is made; names are used once.
    `structure` is what it was made from where that is one of ours: search and baselines know networks by it.
    """

    input: Dimensions
    operations: tuple[Operation, ...]
    structure: Structure | None = None

    def __post_init__(self) -> None:
        if not self.operations:
            raise GraphError("operations: expected at least one, found none")
        for fault in _faults(self):
            raise GraphError(fault)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Return the operations' layers in execution order."""
        return tuple(step.layer for step in self.operations if step.layer is not None)

    @property
    def output(self) -> Dimensions:
        """Return the sizes of what the last operation makes."""
        return self.operations[-1].output

    def makers(self) -> dict[str, Operation]:
        """Return for each value the operation that makes it; the image has none."""
        return {step.name: step for step in self.operations}

    def reads(self) -> Counter[str]:
        """Return for each value how often it is read."""
        return Counter(name for step in self.operations for name in step.inputs)

    def with_bits(self, bits: Mapping[str, Bits]) -> Graph:
        """Return the graph with other widths for the layers that `bits` names; it is no Structure's then."""
        return dataclasses.replace(
            self,
            operations=tuple(
                step
                if step.layer is None or step.name not in bits
                else dataclasses.replace(step, layer=dataclasses.replace(step.layer, bits=bits[step.name]))
                for step in self.operations
            ),
            structure=None,
        )


@lru_cache(maxsize=64)
def structure_graph(structure: Structure) -> Graph:
    """Return the Graph of `structure`: its convolutions with the additions and poolings between, and the classifier.

    An addition is called `<block>.add`, the pooled shortcut of one `<block>.shortcut`, the global pooling `pool`.
    """
    *convolutions, classifier = expand_layers(structure)
    steps: list[Operation] = []
    block = _BlockInput(block="", value=IMAGE, made=None)
    for layer in convolutions:
        value = steps[-1].name if steps else IMAGE
        if layer.block != block.block:
            block = _BlockInput(block=layer.block, value=value, made=steps[-1] if steps else None)
        adds = layer.residual and layer.name.endswith(".project")
        steps.append(
            _bounded(
                name=layer.name,
                kind=OperationKind.CONVOLUTION,
                inputs=(value,),
                read=layer.input,
                made=layer.output,
                activation=None if adds else layer.activation,
                layer=layer,
            )
        )
        if adds:
            steps.extend(_residual(layer, block))
    return Graph(
        input=convolutions[0].input, operations=(*steps, *_classification(classifier, steps[-1])), structure=structure
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _BlockInput:
    block: str
    value: str
    made: Operation | None


def _bounded(
    *,
    name: str,
    kind: OperationKind,
    inputs: tuple[str, ...],
    read: Dimensions,
    made: Dimensions,
    activation: Activation | None,
    layer: Layer | None = None,
) -> Operation:
    """Return an operation whose value is bounded by its activation and by nothing else."""
    return Operation(
        name=name,
        kind=kind,
        inputs=inputs,
        input=read,
        output=made,
        activation=activation,
        layer=layer,
        nonnegative=activation is not None,
        ceiling=activation.ceiling if activation is not None else None,
    )


def _residual(project: Layer, block: _BlockInput) -> list[Operation]:
    steps = []
    shortcut = block.value
    if project.pooled and block.made is not None:
        shortcut = f"{project.block}.shortcut"
        pool = Operation(
            name=shortcut,
            kind=OperationKind.AVERAGE_POOL,
            inputs=(block.value,),
            input=block.made.output,
            output=project.output,
            nonnegative=block.made.nonnegative,
            ceiling=block.made.ceiling,
        )
        steps.append(pool)
    add = _bounded(
        name=f"{project.block}.add",
        kind=OperationKind.ADD,
        inputs=(project.name, shortcut),
        read=project.output,
        made=project.output,
        activation=project.activation,
    )
    return [*steps, add]


def _classification(classifier: Layer, source: Operation) -> tuple[Operation, Operation]:
    pool = Operation(
        name="pool",
        kind=OperationKind.GLOBAL_AVERAGE_POOL,
        inputs=(source.name,),
        input=source.output,
        output=classifier.input,
        nonnegative=source.nonnegative,
        ceiling=source.ceiling,
    )
    linear = Operation(
        name=classifier.name,
        kind=OperationKind.LINEAR,
        inputs=("pool",),
        input=classifier.input,
        output=classifier.output,
        layer=classifier,
    )
    return pool, linear


def _faults(graph: Graph) -> Iterator[str]:
    made = {IMAGE: graph.input}
    reads = graph.reads()
    for step in graph.operations:
        unknown = [name for name in step.inputs if name not in made]
        if unknown or not step.inputs:
            yield f"{step.name}: expected inputs that were made before it, found {', '.join(unknown) or 'none'}"
            return
        if step.name in made:
            yield f"{step.name}: expected a name of its own, found one that is used already"
        if made[step.inputs[0]] != step.input:
            yield f"{step.name}: reads {step.inputs[0]} as {_sizes(step.input)}, made as {_sizes(made[step.inputs[0]])}"
        if (step.kind is OperationKind.FLOAT) != (step.node is not None):
            yield f"{step.name}: expected a node for an operation of kind {OperationKind.FLOAT}, and for nothing else"
        if not _NAME.fullmatch(step.name):
            yield f"{step.name}: expected a name of letters, digits, _ and . alone, by which reports find its parts"
        yield from _layer_faults(step)
        if step.kind is OperationKind.ADD and {made[name] for name in step.inputs} != {step.output}:
            sizes = ", ".join(_sizes(made[name]) for name in step.inputs)
            yield f"{step.name}: expected two values of the sizes that it makes, {_sizes(step.output)}, found {sizes}"
        if step.layer is not None and step.layer.position is Position.STEM and reads[step.inputs[0]] > 1:
            yield f"{step.name}: a stem is alone in reading its input: leave the position out"
        made[step.name] = step.output


def _layer_faults(step: Operation) -> Iterator[str]:
    if (step.kind in _WEIGHTED) != (step.layer is not None):
        yield f"{step.name}: expected a layer for a {' and a '.join(_WEIGHTED)}, and for nothing else"
    if step.layer is None:
        return
    if (step.layer.kind is LayerKind.LINEAR) != (step.kind is OperationKind.LINEAR):
        yield f"{step.name}: a {step.kind} has a layer of kind {step.layer.kind}"
    if (step.layer.name, step.layer.input, step.layer.output) != (step.name, step.input, step.output):
        yield (
            f"{step.name}: its layer {step.layer.name} reads {_sizes(step.layer.input)} and makes "
            f"{_sizes(step.layer.output)}, it reads {_sizes(step.input)} and makes {_sizes(step.output)}"
        )


def _sizes(dimensions: Dimensions) -> str:
    return "x".join(map(str, dimensions))
