"""The engine inspector's JSON, of TensorRT 10 and of 11, as values: which layers an engine has and in what precision.

10: `Bindings` are names and a tensor has `Format/Datatype`; 11: `I/O Tensors` are objects and a tensor has `Format`
and `Datatype`. Read from the migration guide, from public tools and from strings of the 11.4 library; neither
version's engines have been inspected live.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.runtimes.nvidia.engine_names import EngineName, parse_engine_name

_TYPES = (
    # Order matters: BFloat16 contains Float, and Int8 must be seen before a shorter name could be.
    ("bfloat16", "bfloat16"),
    ("bf16", "bfloat16"),
    ("int8", "int8"),
    ("int4", "int4"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("fp8", "fp8"),
    ("fp4", "fp4"),
    ("half", "float16"),
    ("fp16", "float16"),
    ("float16", "float16"),
    ("fp32", "float32"),
    ("float", "float32"),
    ("bool", "bool"),
)
_REFORMAT = re.compile(r"^(Reformatting CopyNode|.*reformat)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTensor:
    """A tensor as the engine holds it; `data_type` is "" where the inspector does not say (dynamic shapes)."""

    name: str
    dimensions: tuple[int, ...]
    data_type: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLayer:
    """A layer of an engine: one kernel, or a fused region. `parts` are the ONNX nodes that went into it.

    `weight_type` is None where it has no weights or does not tell.
    """

    name: str
    kind: str
    parts: EngineName
    inputs: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]
    weight_type: str | None
    tactic: str

    @property
    def reformat(self) -> bool:
        """Return whether it only copies a tensor into another layout or type."""
        return self.kind.lower() == "reformat" or self.parts.reformat or _REFORMAT.match(self.name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDescription:
    """An engine's layers in order. `detailed` is False where it was built without detailed profiling verbosity."""

    generation: int
    layers: tuple[EngineLayer, ...]
    detailed: bool


def read_description(document: Any, source: Path | str) -> EngineDescription:
    """Return the engine that an inspector's JSON describes, of either generation; raises UserError naming `source`."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{source}: the engine inspector's answer is not JSON: {error}") from error
    layers = document.get("Layers") if isinstance(document, Mapping) else None
    if not isinstance(layers, Sequence) or isinstance(layers, str):
        raise UserError(f"{source}: expected the engine inspector's JSON with a list `Layers`, found none")
    detailed = all(isinstance(layer, Mapping) for layer in layers)
    generation = 11 if "I/O Tensors" in document or "Engine Metadata" in document else 10
    return EngineDescription(
        generation=generation, layers=tuple(_layer(layer, source) for layer in layers), detailed=detailed
    )


def data_type(text: str) -> str:
    """Return the element type that a format or type string of TensorRT names, "" where it names none.

    >>> data_type("Thirty-two wide channel vectorized row major Int8 format")
    'int8'
    """
    lowered = text.lower()
    return next((name for needle, name in _TYPES if needle in lowered), "")


def _layer(layer: object, source: Path | str) -> EngineLayer:
    if isinstance(layer, str):
        return EngineLayer(
            name=layer, kind="", parts=parse_engine_name(layer), inputs=(), outputs=(), weight_type=None, tactic=""
        )
    if not isinstance(layer, Mapping) or not isinstance(layer.get("Name"), str):
        raise UserError(
            f"{source}: expected each of `Layers` to be a name or an object with `Name`, found {layer!r:.80}"
        )
    name = layer["Name"]
    weights = layer.get("Weights")
    weight_type = data_type(str(weights.get("Type", ""))) if isinstance(weights, Mapping) else ""
    return EngineLayer(
        name=name,
        kind=str(layer.get("LayerType", "")),
        parts=_parts(name, str(layer.get("Metadata") or "")),
        inputs=_tensors(layer.get("Inputs"), f"{source}: {name}"),
        outputs=_tensors(layer.get("Outputs"), f"{source}: {name}"),
        weight_type=weight_type or None,
        tactic=str(layer.get("TacticName") or layer.get("TacticValue") or ""),
    )


def _parts(name: str, metadata: str) -> EngineName:
    # The metadata has the nodes one by one; the optimisation profile stands in the name alone.
    named, sources = parse_engine_name(name), parse_engine_name(metadata)
    return dataclasses.replace(named, nodes=sources.nodes, regions=()) if sources.nodes else named


def _tensors(value: object, where: str) -> tuple[EngineTensor, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(_tensor(tensor, where) for tensor in value if isinstance(tensor, Mapping))


def _tensor(tensor: Mapping[str, Any], where: str) -> EngineTensor:
    combined = str(tensor.get("Format/Datatype", ""))
    separate = str(tensor.get("Datatype") or tensor.get("DataType") or "")
    sizes = tensor.get("Dimensions") or ()
    if not isinstance(sizes, Sequence) or not all(type(size) is int for size in sizes):
        raise UserError(f"{where}: Dimensions: expected whole numbers, found {sizes!r:.80}")
    return EngineTensor(
        name=str(tensor.get("Name", "")),
        dimensions=tuple(sizes),
        data_type=data_type(separate or combined),
        format=str(tensor.get("Format") or combined),
    )
