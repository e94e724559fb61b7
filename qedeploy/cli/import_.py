"""`qedeploy import`: a LightNAS structure, with its trained weights where there are any, becomes model.pth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qedeploy.cli.options import JsonOption, ProfileOption, QuietOption


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
    profile: ProfileOption = "cpu-int8",
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Square input in pixels; LightNAS text means 224.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Classes, where no checkpoint says; 1000 if nobody does.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of initialised weights.")] = 0,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a LightNAS structure and its training checkpoint into model.pth."""
    from qedeploy import api
    from qedeploy.cli.model_lines import model_document, model_lines
    from qedeploy.files import json_text
    from qedeploy.screen import line, screen

    target = out or structure.with_suffix(".pth")
    console = screen(quiet=quiet or as_json)
    network = api.import_model(
        structure,
        checkpoint,
        profile=profile,
        resolution=resolution,
        classes=classes,
        seed=seed,
        weights=weights,
        out=target,
        say=lambda note: console.print(line(note), soft_wrap=True),
    )
    if as_json:
        typer.echo(json_text(model_document(network, target, api.profile(profile))), nl=False)
    origin = f"trained weights of {checkpoint.name}" if checkpoint else f"initialised weights, seed {seed}"
    for text in model_lines(network, origin, target, api.profile(profile), trained=checkpoint is not None):
        console.print(text, soft_wrap=True)
