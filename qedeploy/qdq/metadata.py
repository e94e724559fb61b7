"""The metadata of an exported ONNX file: its network, profile and lowering plan as JSON in metadata_props."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx

from qedeploy.contents import ContentKind, found_instead
from qedeploy.errors import UserError
from qedeploy.files import read_bytes
from qedeploy.model import image_settings
from qedeploy.model.image_settings import ImageSettings
from qedeploy.network import graph_file, structure_file
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.network.structure import Structure
from qedeploy.qdq import plan as plans
from qedeploy.qdq.plan import LoweringPlan
from qedeploy.words import listed

FORMAT = "qedeploy-onnx/1"

_IMAGES = "qedeploy.images"
_STRUCTURE, _GRAPH = "qedeploy.structure", "qedeploy.graph"
"""Keys of the network: the first where it is a Structure, else the second."""


class DamagedMetadataError(UserError):
    """An ONNX file has metadata of qedeploy that cannot be read (exit code 2); its graph may be whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What read_metadata finds: `profile` is the name of the profile that the plan was made for.

    `images` says how pictures were prepared in training, None where the file does not say.
    """

    graph: Graph
    profile: str
    plan: LoweringPlan
    images: ImageSettings | None = None

    def __post_init__(self) -> None:
        planned = {layer.name for layer in self.plan.layers}
        missing = [layer.name for layer in self.graph.layers if layer.name not in planned]
        if missing:
            raise UserError(f"the lowering plan lacks {listed(missing)} of the network: export the model again")

    @property
    def structure(self) -> Structure | None:
        """Return the Structure that the graph was made from, None if there is none."""
        return self.graph.structure


def to_properties(metadata: ModelMetadata) -> dict[str, str]:
    """Return `metadata` as ONNX metadata_props."""
    structure = metadata.structure
    network = (
        {_GRAPH: json.dumps(graph_file.to_document(metadata.graph))}
        if structure is None
        else {_STRUCTURE: json.dumps(structure_file.to_document(structure))}
    )
    return {
        "qedeploy.format": FORMAT,
        **network,
        "qedeploy.profile": metadata.profile,
        "qedeploy.plan": json.dumps(plans.to_document(metadata.plan)),
        **({} if metadata.images is None else {_IMAGES: json.dumps(image_settings.to_document(metadata.images))}),
    }


def read_metadata(path: Path) -> ModelMetadata | None:
    """Return qedeploy's metadata of an ONNX file, None if it has none.

    Raises UserError where the file is not ONNX, DamagedMetadataError where its metadata is ours and damaged.
    """
    properties = {item.key: item.value for item in read_model(path).metadata_props}
    if not any(key.startswith("qedeploy.") for key in properties):
        return None
    if properties.get("qedeploy.format") != FORMAT:
        found = properties.get("qedeploy.format", "none")
        raise DamagedMetadataError(
            f"{path}: metadata qedeploy.format: expected {FORMAT}, found {found}: export the model again"
        )
    try:
        return ModelMetadata(
            graph=_graph(properties, path),
            profile=properties.get("qedeploy.profile", ""),
            plan=plans.from_document(_json(properties, "qedeploy.plan", path), f"{path}: qedeploy.plan"),
            images=_image_settings(properties, path),
        )
    except UserError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise DamagedMetadataError(f"{where}{error}") from error


def read_model(path: Path) -> onnx.ModelProto:
    """Return the ONNX model in `path`; raises UserError if it cannot be read or is no model."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    content = read_bytes(path)
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        found = found_instead(content, ContentKind.ONNX)
        raise UserError(f"{path}: not an ONNX model, or a truncated one{found}") from error
    if not model.graph.node:
        raise UserError(f"{path}: not an ONNX model: it holds no graph{found_instead(content, ContentKind.ONNX)}")
    return model


def _graph(properties: dict[str, str], path: Path) -> Graph:
    if _GRAPH in properties:
        return graph_file.from_document(_json(properties, _GRAPH, path), f"{path}: {_GRAPH}")
    return structure_graph(structure_file.from_document(_json(properties, _STRUCTURE, path), path))


def _image_settings(properties: dict[str, str], path: Path) -> ImageSettings | None:
    if _IMAGES not in properties:
        return None
    return image_settings.from_document(_json(properties, _IMAGES, path), f"{path}: {_IMAGES}")


def _json(properties: dict[str, str], key: str, path: Path) -> object:
    try:
        return json.loads(properties[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: metadata {key}: missing or not JSON: export the model again") from error
