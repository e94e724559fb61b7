"""`qedeploy import`: a LightNAS structure, with its trained weights where there are any, becomes model.pth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def import_(
    structure: Annotated[Path, typer.Argument(help="best_structure.txt or .json of LightNAS, or structure.json.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Its .pth.tar or .safetensors; without one, initialised weights.")
    ] = None,
    weights: Annotated[
        Literal["auto", "last", "ema"],
        typer.Option(help="Which of a checkpoint: the last, or their average (EMA) where it has one."),
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="File to write; by default the structure's, with .pth.")] = None,
    profile: Annotated[str, typer.Option(help="Device: a name or a TOML file.")] = "cpu-int8",
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Square input in pixels; LightNAS text means 224.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Classes, where no checkpoint says; 1000 if nobody does.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of initialised weights.")] = 0,
) -> None:
    """Turn a LightNAS structure and its training checkpoint into model.pth."""
    from qedeploy.errors import UserError
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.model.foreign_state import Weights
    from qedeploy.model.importing import import_model, import_record
    from qedeploy.model.summary import model_lines
    from qedeploy.profiles.loader import load_profile
    from qedeploy.screen import line, screen

    target = out or structure.with_suffix(".pth")
    if target.resolve() in {structure.resolve(), checkpoint.resolve() if checkpoint else None}:
        raise UserError(f"{target}: is a file to read; choose another --out")
    device = load_profile(profile)
    console = screen()
    network = import_model(
        structure,
        checkpoint,
        profile=device,
        resolution=resolution,
        classes=classes,
        seed=seed,
        weights=Weights(weights),
        say=lambda note: console.print(line(note), soft_wrap=True),
    )
    save_checkpoint(target, network, profile=profile, recipe=import_record(structure, checkpoint))
    origin = f"trained weights of {checkpoint.name}" if checkpoint else f"initialised weights, seed {seed}"
    for text in model_lines(network, origin, target, device):
        console.print(text, soft_wrap=True)
