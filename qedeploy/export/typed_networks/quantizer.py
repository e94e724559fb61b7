"""A prepared network with its calibrated grids, written with any of its layers in W8A8 or W4A16."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from qedeploy.errors import RequestError
from qedeploy.export.onnx_networks.calibration import observe
from qedeploy.export.onnx_networks.editor import GraphEditor
from qedeploy.export.onnx_networks.integer_layers import grid_roots
from qedeploy.export.onnx_networks.methods import CalibrationMethod
from qedeploy.export.onnx_networks.preparation import PreparedModel, raised_to
from qedeploy.export.onnx_networks.quantizer import TiedRange, refused_layers, tied_ranges
from qedeploy.export.typed_networks.half_precision import in_half
from qedeploy.export.typed_networks.layers import TypedLayer, typed_layers
from qedeploy.export.typed_networks.symmetric import SymmetricGrid, choose_symmetric
from qedeploy.export.typed_networks.writer import TypedModel, shortcut_values, write_typed
from qedeploy.profiles.profile import Profile
from qedeploy.runtimes.turns import Feed
from qedeploy.runtimes.typed import TypedGraphs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypedQuantizer:
    """Writes `model`. `refused` says of layers that must not round their input why that is so."""

    source: Path
    model: onnx.ModelProto
    editor: GraphEditor
    typed: TypedGraphs
    layers: Mapping[str, TypedLayer]
    grids: Mapping[str, SymmetricGrid]
    tied: tuple[TiedRange, ...]
    refused: Mapping[str, str]

    def write(self, precisions: Mapping[str, str]) -> TypedModel:
        """Return the network in float32 with the layers in `precisions` that are not in float16 rounded."""
        chosen = {
            name: (self.layers[name], item) for name, item in precisions.items() if item in self.layers[name].precisions
        }
        return write_typed(self.model, self.editor, chosen, self.grids, self.typed.round_scale)

    def in_half(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return a written model in float16."""
        return in_half(model, self.source)


def make_typed_quantizer(
    prepared: PreparedModel,
    profile: Profile,
    typed: TypedGraphs,
    feeds: Sequence[Feed],
    method: CalibrationMethod = CalibrationMethod.MSE,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TypedQuantizer:
    """Return a quantizer for `profile`, its grids chosen by what the network makes of `feeds`.

    Raises RequestError where the network has no layer that could be anything but float16, or cannot be in the opset
    that the runtime wants.
    """
    model = raised_to(prepared.model, typed.opset, prepared.source)
    editor = GraphEditor(model)
    layers = typed_layers(editor, profile, typed)
    if not layers:
        raise RequestError(f"{prepared.source}: no layer of the network could be in integers on {profile.name}")
    roots = grid_roots(editor)
    wanted = {layer.found.source for layer in layers.values()} | shortcut_values(editor)
    concatenated = {
        value
        for node in editor.nodes
        if node.op_type == "Concat"
        for value in (*editor.computed_inputs(node), *node.output)
        if editor.is_float(value)
    }
    seen = observe(model, sorted({roots.get(value, value) for value in wanted | concatenated}), feeds, progress)
    tied = tied_ranges(editor, roots, seen)
    return TypedQuantizer(
        source=prepared.source,
        model=model,
        editor=editor,
        typed=typed,
        layers=layers,
        grids={value: choose_symmetric(seen[roots.get(value, value)], method, typed.round_scale) for value in wanted},
        tied=tied,
        refused=refused_layers({name: layer.found for name, layer in layers.items()}, roots, tied),
    )
