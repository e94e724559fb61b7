"""A float ONNX file made ready: sizes fixed, constants and normalisation folded, activations as the runtime fuses them.

The work is the reference runtime's (which folds what is constant) and onnx's (raising the opset, inlining
functions); what neither does is `activations` and `affine`. What comes out equals the original, or nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.activations import fuse_hard_activations
from qedeploy.export.onnx_networks.affine import fold_affine
from qedeploy.export.onnx_networks.editor import ONNX_DOMAINS
from qedeploy.export.onnx_networks.equality import OutputDifference, require_equal, trial_feeds
from qedeploy.export.onnx_networks.file import every_node, opset_of, read_model, require_float, require_plain
from qedeploy.export.onnx_networks.sizes import Sizes, declared_inputs, fix_sizes, resolve_sizes
from qedeploy.runtimes.registry import reference

OPSET = 17
"""What files are raised to: the first opset with LayerNormalization as one operator."""

_IR_VERSION = 8
"""The oldest that opset 17 comes with; from 4 on, constants need not be inputs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedModel:
    """A prepared model: `original` is the file's own with sizes fixed, `differences` how far the two are apart."""

    source: Path
    original: onnx.ModelProto
    model: onnx.ModelProto
    inputs: Mapping[str, tuple[int, ...]]
    differences: tuple[OutputDifference, ...]


def prepare(
    path: Path, sizes: Sizes | None = None, *, feeds: Sequence[Mapping[str, NDArray[Any]]] = ()
) -> PreparedModel:
    """Return the float ONNX model in `path`, prepared and held against the original.

    Both are compared on `feeds` where there are any, else on values made up. Raises UserError for a file that cannot be
    read or sizes that are not given, RequestError for a model that cannot be prepared or does not stay the same.
    """
    model = read_model(path)
    require_float(model, path)
    model = _inlined(model, path)
    inputs = resolve_sizes(declared_inputs(model), sizes or Sizes(), path)
    original = _without_constant_inputs(fix_sizes(model, inputs))
    folded = _folded(original, path)
    require_plain(folded, path)
    raised = _folded(_raised(folded, path), path)
    rewritten = fold_affine(fuse_hard_activations(raised))
    prepared = _named(_folded(rewritten, path))
    require_plain(prepared, path)
    differences = require_equal(original, prepared, feeds or trial_feeds(original), path)
    return PreparedModel(source=path, original=original, model=prepared, inputs=inputs, differences=differences)


def raised_to(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """Return a prepared `model` of the file `path` in a later opset; raises RequestError where onnx cannot raise it."""
    return _named(_folded(_raised(model, path, opset), path))


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    if not model.functions:
        return model
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # onnx's C++ raises RuntimeError and its own
        raise RequestError(f"{path}: its functions cannot be written out: {_first_line(error)}") from error


def _without_constant_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` whose weights are constants: before IR version 4 each was an input that a caller might replace."""
    weights = {item.name for item in model.graph.initializer}
    kept = [item for item in model.graph.input if item.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return model


def _folded(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return `model` with its constants folded and what is redundant gone."""
    runtime = reference()
    try:
        folded = onnx.load_model_from_string(runtime.simplify(model.SerializeToString()))
    except Exception as error:  # a runtime's exceptions need have no common base
        raise RequestError(f"{path}: {runtime.label} refuses it: {_first_line(error)}") from error
    used = {node.domain for node in every_node(folded.graph)}
    # The runtime lists every domain it knows, at versions that other tools do not know.
    kept = [item for item in folded.opset_import if item.domain in used - set(ONNX_DOMAINS)]
    del folded.opset_import[:]
    folded.opset_import.extend([onnx.helper.make_opsetid("", opset_of(model) or OPSET), *kept])
    folded.metadata_props.extend(item for item in model.metadata_props if item not in folded.metadata_props)
    return folded


def _raised(model: onnx.ModelProto, path: Path, wanted: int = OPSET) -> onnx.ModelProto:
    from onnx import version_converter

    opset = opset_of(model)
    if opset is not None and opset >= wanted:
        return model
    try:
        raised = version_converter.convert_version(model, wanted)
    except Exception as error:  # onnx's C++ raises RuntimeError and its own
        raise RequestError(
            f"{path}: onnx cannot raise its opset {opset} to {wanted}: {_first_line(error)}; export it again with "
            f"opset_version={wanted}"
        ) from error
    raised.metadata_props.extend(item for item in model.metadata_props if item not in raised.metadata_props)
    return raised


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with a name for every node, each its own: reports and time tables go by them."""
    taken: set[str] = set()
    for node in model.graph.node:
        stem = node.name or node.output[0]
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}.{number}", number + 1
        taken.add(name)
        node.name = name
    return model


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
