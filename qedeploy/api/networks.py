"""PyTorch networks of structures, new or of LightNAS's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qedeploy.api.arguments import as_path, say_nothing

if TYPE_CHECKING:
    from qedeploy.model.network import QuantizedNetwork
    from qedeploy.network.structure import Structure


def build(
    model: Structure | str,
    *,
    profile: str = "cpu-int8",
    classes: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
) -> QuantizedNetwork:
    """Return a PyTorch network of a structure, or of the published model of a name, with initialised weights.

    `classes` and `resolution` (pixels) replace its own; `out` is a file such as model.pth to write it to. Raises
    RequestError naming the layer where the profile lacks its bits.

    >>> network = build("Mixed7d0G", classes=10, resolution=32)
    >>> network.structure.classifier.classes
    10
    """
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.model.importing import build_for
    from qedeploy.network.published import find_published
    from qedeploy.profiles.loader import load_profile

    record = {}
    if isinstance(model, str):
        found = find_published(model)
        model, record = found.structure, {"published": found.name}
    network = build_for(model, load_profile(profile), classes=classes, resolution=resolution, seed=seed)
    if out is not None:
        save_checkpoint(Path(out), network, profile=profile, recipe=record)
    return network


def import_model(
    structure: Path | str,
    checkpoint: Path | str | None = None,
    *,
    profile: str = "cpu-int8",
    resolution: int | None = None,
    classes: int | None = None,
    seed: int = 0,
    weights: Literal["auto", "last", "ema"] = "auto",
    out: Path | str | None = None,
    say: Callable[[str], None] | None = None,
) -> QuantizedNetwork:
    """Return the PyTorch network of a structure file, with the weights of a LightNAS checkpoint where one is named.

    Without one the weights are initialised by `seed`. `resolution` (pixels) and `classes` replace what the files say;
    `weights` takes a checkpoint's last ones or their average, and `say` gets sentences on which they were; `out` is a
    file such as model.pth to write the network to.
    """
    from qedeploy.errors import UserError
    from qedeploy.files import real_path
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.model.foreign_state import Weights
    from qedeploy.model.importing import import_model as read_model
    from qedeploy.model.importing import import_record
    from qedeploy.profiles.loader import load_profile

    structure, checkpoint, out = Path(structure), as_path(checkpoint), as_path(out)
    read = {real_path(file) for file in (structure, checkpoint) if file is not None}
    if out is not None and real_path(out) in read:
        raise UserError(f"{out}: is a file to read; choose another --out")
    device = load_profile(profile)
    network = read_model(
        structure,
        checkpoint,
        profile=device,
        resolution=resolution,
        classes=classes,
        seed=seed,
        weights=Weights(weights),
        say=say or say_nothing,
    )
    if out is not None:
        save_checkpoint(out, network, profile=profile, recipe=import_record(structure, checkpoint))
    return network
