"""LightNAS structure text: the reference's own form of a structure, read without executing it.

A Python literal, either `{'best_structures': [[...]], 'space_arch': 'CnnNet'}` or a bare list of blocks; JSON is
the same list in another notation. Source: alibaba/lightweight-neural-architecture-search, commit 8ccaf88.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from qedeploy.network.structure import (
    Activation,
    Bits,
    Block,
    Classifier,
    Convolution,
    Stage,
    Structure,
    StructureError,
    located,
)

_CONVOLUTION = "ConvKXBNRELU"
_STAGE = "SuperQuantResK1DWK1"
_INNER_CLASS = "ResK1DWK1"

_CONVOLUTION_KEYS = frozenset({"class", "in", "out", "k", "s", "nbitsA", "nbitsW"})
_STAGE_KEYS = _CONVOLUTION_KEYS | {"L", "btn", "inner_class"}

MAX_TEXT = 1 << 20
"""Characters of a structure text: hundreds of times the longest real one, and parsed in a second."""


def parse_text(text: str, *, classifier: Classifier = Classifier(), resolution: int = 224) -> Structure:
    """Return the structure of a LightNAS text or of the same in JSON; raises StructureError where it is neither."""
    return from_value(_literal(text.strip()), classifier=classifier, resolution=resolution)


def literal(text: str) -> object:
    """Return what a Python literal says; raises what `ast.literal_eval` raises, and warns of nothing.

    What the parser thinks of a backslash in somebody's file is noise beside the answer.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)


def _literal(text: str) -> object:
    if len(text) > MAX_TEXT:
        raise StructureError(f"expected one structure in at most {MAX_TEXT} characters, found {len(text)}")
    try:
        return literal(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        literal_fault = error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if isinstance(literal_fault, ValueError) and "malformed node" in str(literal_fault):
            reason = "the text holds an expression, but only literals are read; nothing in it is executed"
        else:
            reason = f"as JSON, line {error.lineno}, column {error.colno}: {error.msg}"
        raise StructureError(f"expected a structure as JSON or as LightNAS text, found neither ({reason})") from error
    except (ValueError, RecursionError) as error:
        raise StructureError("expected a structure as JSON or as LightNAS text, found neither") from error


def from_value(value: object, *, classifier: Classifier = Classifier(), resolution: int = 224) -> Structure:
    """Return the structure in the value of a LightNAS text or its JSON; raises StructureError if it is none.

    Of several under `best_structures` the first counts, as in the reference's own tools.
    """
    return from_blocks(_blocks_of(value), classifier=classifier, resolution=resolution)


def from_blocks(
    blocks: Sequence[Mapping[str, Any]], *, classifier: Classifier = Classifier(), resolution: int = 224
) -> Structure:
    """Return the structure of a list of reference blocks; raises StructureError naming block and field."""
    if len(blocks) < 3:
        raise StructureError(f"expected a stem, at least one stage and a head, found {len(blocks)} blocks")
    if not any("nbits" in key for block in blocks for key in map(str, block)):
        kinds = ", ".join(dict.fromkeys(str(block.get("class")) for block in blocks[:32]))
        raise StructureError(
            f"a TinyNAS structure of the float space ({kinds}; no bit widths): expected one of the quantized space, "
            f"{_CONVOLUTION} and {_STAGE} with nbitsW and nbitsA: search in that space of LightNAS's, or here with "
            "`qedeploy search`"
        )
    in_channels = []
    for index, block in enumerate(blocks):
        with located(f"block {index}"):
            in_channels.append(_field(block, "in"))
    stem = _convolution(blocks[0], "block 0")
    stages = tuple(_stage(block, f"block {index}") for index, block in enumerate(blocks[1:-1], start=1))
    head = _convolution(blocks[-1], f"block {len(blocks) - 1}")
    produced = [stem.out_channels, *(stage.out_channels for stage in stages)]
    for index, (found, expected) in enumerate(zip(in_channels[1:], produced, strict=True), start=1):
        if found != expected:
            raise StructureError(
                f"block {index}: in: expected {expected}, the output of the block before, found {found}"
            )
    return Structure(
        stem=stem, stages=stages, head=head, classifier=classifier, resolution=resolution, input_channels=in_channels[0]
    )


def to_blocks(structure: Structure) -> list[dict[str, Any]]:
    """Return the reference's list of blocks for `structure` (classifier and resolution have no place in it).

    Raises StructureError where the reference has no such blocks: all of its blocks have three layers and ReLUs.
    """
    _require_expressible(structure)
    blocks: list[dict[str, Any]] = [_convolution_block(structure.stem, structure.input_channels)]
    in_channels = structure.stem.out_channels
    for stage in structure.stages:
        widths = [bits for block in stage.blocks for bits in block.layers()]
        blocks.append({
            "class": _STAGE, "in": in_channels, "out": stage.out_channels, "s": stage.stride, "k": stage.kernel,
            "L": len(stage.blocks), "btn": stage.bottleneck_channels, "inner_class": _INNER_CLASS,
            "nbitsA": [bits.activation for bits in widths], "nbitsW": [bits.weight for bits in widths],
        })  # fmt: skip
        in_channels = stage.out_channels
    blocks.append(_convolution_block(structure.head, in_channels))
    return blocks


def to_text(*structures: Structure) -> str:
    """Return LightNAS structure text of one or more structures, which the reference's own tools read.

    Raises StructureError where the reference has no blocks for one of them.
    """
    found = [to_blocks(structure) for structure in structures]
    return f"{ {'space_arch': 'CnnNet', 'best_structures': found} }\n"


def _require_expressible(structure: Structure) -> None:
    found = []
    if structure.activation is not Activation.RELU:
        found.append(f"{structure.activation} activations")
    if structure.linear_bottlenecks:
        found.append("linear bottlenecks")
    if any(block.expand is None for stage in structure.stages for block in stage.blocks):
        found.append("a block without an expand layer")
    if found:
        raise StructureError(f"LightNAS text cannot hold {', '.join(found)}: keep this structure as structure.json")


def _convolution_block(convolution: Convolution, in_channels: int) -> dict[str, Any]:
    return {
        "class": _CONVOLUTION,
        "in": in_channels,
        "out": convolution.out_channels,
        "s": convolution.stride,
        "k": convolution.kernel,
        "nbitsA": convolution.bits.activation,
        "nbitsW": convolution.bits.weight,
    }


def _blocks_of(value: object) -> Sequence[Mapping[str, Any]]:
    # A loop, not a recursion, because a file may be nested to any depth.
    while True:
        if isinstance(value, Mapping):
            key = next((key for key in ("best_structures", "structure", "structures") if key in value), None)
            if key is None:
                found = ", ".join(map(repr, list(value)[:8])) or "no key"
                raise StructureError(f"expected the key 'best_structures', found {found}")
            value = value[key]
        elif isinstance(value, list | tuple) and value:
            if all(isinstance(item, Mapping) and "class" in item for item in value):
                return value
            value = value[0]
        else:
            raise StructureError("expected a list of blocks, each with a 'class'")


def _convolution(block: Mapping[str, Any], where: str) -> Convolution:
    with located(where):
        _expect_class(block, _CONVOLUTION)
        _expect_no_more(block, _CONVOLUTION_KEYS)
        bits = Bits(weight=_field(block, "nbitsW"), activation=_field(block, "nbitsA"))
        return Convolution(
            out_channels=_field(block, "out"), kernel=_field(block, "k"), stride=block.get("s", 1), bits=bits
        )


def _stage(block: Mapping[str, Any], where: str) -> Stage:
    with located(where):
        _expect_class(block, _STAGE)
        _expect_no_more(block, _STAGE_KEYS)
        depth = _field(block, "L")
        pairs = zip(_widths(block, "nbitsW", depth), _widths(block, "nbitsA", depth), strict=True)
        widths = [Bits(weight=weight, activation=activation) for weight, activation in pairs]
        triples = (widths[i : i + 3] for i in range(0, len(widths), 3))
        return Stage(
            out_channels=_field(block, "out"),
            bottleneck_channels=_field(block, "btn"),
            kernel=_field(block, "k"),
            stride=block.get("s", 1),
            blocks=tuple(Block(expand=first, depthwise=second, project=third) for first, second, third in triples),
        )


def _widths(block: Mapping[str, Any], key: str, depth: object) -> Sequence[Any]:
    value = _field(block, key)
    if isinstance(value, list | tuple) and isinstance(depth, int) and len(value) == 3 * depth:
        return value
    raise StructureError(f"{key}: expected a list of 3 widths for each of L={depth!r} inner blocks, found {value!r}")


def _field(block: Mapping[str, Any], key: str) -> Any:
    if key not in block:
        raise StructureError(f"{key}: expected this key, found only {', '.join(map(str, block))}")
    return block[key]


def _expect_class(block: Mapping[str, Any], expected: str) -> None:
    found = block.get("class")
    if found != expected:
        raise StructureError(f"class: expected {expected}, found {found!r}")


def _expect_no_more(block: Mapping[str, Any], known: frozenset[str]) -> None:
    # A key that changes what the reference computes must not be ignored; these three may have their usual values.
    kernel = block.get("k")
    usual: dict[str, object] = {"act": "relu", "g": 1, "p": (kernel - 1) // 2 if isinstance(kernel, int) else None}
    if "inner_class" in known:
        usual["inner_class"] = _INNER_CLASS
    for key, value in block.items():
        if key in usual and value != usual[key]:
            raise StructureError(f"{key}: expected {usual[key]!r}, found {value!r}")
        if key not in usual and key not in known:
            raise StructureError(f"{key}: unknown key, expected {', '.join(sorted(known))}")
