"""In which precision OpenVINO executes each layer, read from the graph that it made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qedeploy.runtimes.sections import Column, RuntimeReport, Section
from qedeploy.words import counted, listed

if TYPE_CHECKING:
    from openvino import CompiledModel

_WEIGHTED = frozenset({"Convolution", "GroupConvolution", "FullyConnected", "MatMul"})
_INTEGER = frozenset({"u8", "i8", "u4", "i4"})
_ADDED = re.compile(r"(/WithoutBiases|/DequantizationMultiply)+$")
"""What OpenVINO puts behind a product's name when it takes its bias or its scale apart from it."""

_UNTIMED = frozenset({"Const", "Input", "Output"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedNode:
    """A node of the executed graph: its kind, the kernel that computes it, the precision, and the ONNX nodes in it."""

    name: str
    kind: str
    kernel: str
    precision: str
    origins: tuple[str, ...]

    @property
    def weighted(self) -> bool:
        """Whether it multiplies by weights."""
        return self.kind in _WEIGHTED

    @property
    def integer(self) -> bool:
        """Whether it computes with integers."""
        return self.precision in _INTEGER


def executed_nodes(compiled: CompiledModel) -> tuple[ExecutedNode, ...]:
    """Return the nodes of `compiled` that compute, in the order of the graph."""
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        said = node.get_rt_info()
        kind = _text(said["layerType"])
        if kind in _UNTIMED:
            continue
        found.append(
            ExecutedNode(
                name=node.get_friendly_name(),
                kind=kind,
                kernel=_text(said["primitiveType"]),
                precision=_text(said["runtimePrecision"]),
                origins=tuple(filter(None, _text(said["originalLayersNames"]).split(","))),
            )
        )
    return tuple(found)


def layer_of(node: ExecutedNode, aliases: Mapping[str, str]) -> str:
    """Return the layer that a node computes, by the name of its ONNX node; its own name where it computes none.

    `aliases` has the ONNX node that makes an output of the file, by the output's name, which OpenVINO prefers.
    """
    if not node.weighted:
        return node.name
    # The first of what is fused is the product.
    name = _ADDED.sub("", next(iter(node.origins), node.name))
    return aliases.get(name, name)


def runtime_report(nodes: Iterable[ExecutedNode], aliases: Mapping[str, str]) -> RuntimeReport:
    """Return what OpenVINO tells of the executed graph."""
    kept = tuple(nodes)
    weighted = [node for node in kept if node.weighted]
    floating = [layer_of(node, aliases) for node in weighted if not node.integer]
    counts = Counter(node.precision for node in weighted)
    told = ", ".join(f"{count} in {precision}" for precision, count in counts.most_common())
    rows = tuple((layer_of(node, aliases), node.kind, node.precision, node.kernel) for node in weighted)
    return RuntimeReport(
        sections=(
            Section(
                title="precision of each layer as OpenVINO executes it",
                columns=(
                    Column(title="layer", widest=40),
                    Column(title="operator"),
                    Column(title="precision"),
                    Column(title="kernel"),
                ),
                rows=rows,
                on_terminal=False,
            ),
        )
        if rows
        else (),
        findings=(f"OpenVINO executes {counted(len(weighted), 'layer')} with weights: {told}.",) if weighted else (),
        warnings=(
            (f"{counted(len(floating), 'layer')} ({listed(floating)}) of a quantized file run in floating point.",)
            if floating and len(floating) < len(weighted)
            else ()
        ),
        figures={"layers": [dict(zip(("layer", "operator", "precision", "kernel"), row, strict=True)) for row in rows]},
    )


def _text(value: Any) -> str:
    """Return a value of the executed graph as text; OpenVINO wraps it."""
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)
