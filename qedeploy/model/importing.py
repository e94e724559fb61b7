"""From structures, and the trained weights that LightNAS left, to networks of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.model.build import build
from qedeploy.model.foreign_state import Weights
from qedeploy.model.lightnas_checkpoint import network_from_reference, read_reference_state
from qedeploy.model.network import QuantizedNetwork
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Classifier, Structure
from qedeploy.network.structure_file import read_structures
from qedeploy.profiles.profile import Profile


def import_model(
    structure_file: Path,
    checkpoint: Path | None,
    *,
    profile: Profile,
    resolution: int | None = None,
    classes: int | None = None,
    seed: int = 0,
    weights: Weights = Weights.AUTO,
    say: Callable[[str], None] = lambda _note: None,
) -> QuantizedNetwork:
    """Return the network of a structure file with the weights of `checkpoint`, or initialised by `seed` for None.

    `resolution` (pixels) and `classes` replace what the structure says, or the 224 and 1000 of one that says neither.
    `say` is called with sentences on which of the checkpoint's weights were taken.
    Raises UserError for files that cannot be read or do not fit together, RequestError naming the layer where
    `profile` lacks its bits.
    """
    structure = _structure(structure_file, classes)
    if resolution is not None:
        structure = dataclasses.replace(structure, resolution=resolution)
    profile.executed_bits(expand_layers(structure))
    if checkpoint is None:
        return build(structure, unsigned_activation_bits=profile.unsigned_activation_bits, seed=seed)
    state = read_reference_state(checkpoint, weights)
    for note in state.notes:
        say(f"{checkpoint.name}: {note}")
    network = network_from_reference(structure, state.tensors, checkpoint)
    found = network.structure.classifier.classes
    if classes is not None and classes != found:
        raise UserError(f"--classes {classes}: {checkpoint} has {found}; leave the option out")
    return network


def import_record(structure_file: Path, checkpoint: Path | None) -> Mapping[str, Any]:
    """Return what model.pth keeps, in a recipe's place, about where an imported network comes from."""
    files = {"structure": structure_file, "checkpoint": checkpoint}
    return {
        "imported": {
            key: {"file": path.name, "sha256": sha256(path)} for key, path in files.items() if path is not None
        }
    }


def build_for(
    structure: Structure,
    profile: Profile,
    *,
    classes: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
) -> QuantizedNetwork:
    """Return a network of `structure` for `profile`, with weights initialised by `seed`.

    `classes` and `resolution` (pixels) replace the structure's own. Raises RequestError naming the layer where
    `profile` lacks its bits.
    """
    if resolution is not None:
        structure = dataclasses.replace(structure, resolution=resolution)
    profile.executed_bits(expand_layers(structure))
    return build(structure, classes, unsigned_activation_bits=profile.unsigned_activation_bits, seed=seed)


def _structure(path: Path, classes: int | None) -> Structure:
    found = list(read_structures(path, classifier=Classifier(classes=classes or Classifier().classes)))
    if len(found) != 1:
        raise UserError(f"{path}: expected one structure, found {len(found)}; put the one to import in a file")
    structure = found[0][1]
    if classes is not None:
        classifier = dataclasses.replace(structure.classifier, classes=classes)
        structure = dataclasses.replace(structure, classifier=classifier)
    return structure
