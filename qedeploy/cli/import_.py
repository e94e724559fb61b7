"""`qedeploy import`: a LightNAS structure, with its trained weights where there are any, becomes model.pth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_(
    structure: Annotated[Path, typer.Argument(help="best_structure.txt or .json of LightNAS, or structure.json.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Its .pth.tar; without one, initialised weights.")] = None,
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
    from rich.console import Console

    from qedeploy import api
    from qedeploy.cli.model_lines import model_lines

    target = out or structure.with_suffix(".pth")
    network = api.import_model(
        structure, checkpoint, profile=profile, resolution=resolution, classes=classes, seed=seed, out=target
    )
    weights = f"trained weights of {checkpoint.name}" if checkpoint else f"initialised weights, seed {seed}"
    console = Console(highlight=False)
    for line in model_lines(network, weights, target, api.profile(profile)):
        console.print(line, soft_wrap=True)
