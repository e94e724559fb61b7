"""`qedeploy score`: QE-Score and costs of structures, as tables or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import QuietOption

if TYPE_CHECKING:
    from qedeploy.network.structure import Structure


def score(
    files: Annotated[list[str], typer.Argument(help="structure.json, LightNAS text or JSON lines; - reads stdin.")],
    resolution: Annotated[int | None, typer.Option(help="Square input in pixels, instead of the structure's.")] = None,
    sigma_weight: Annotated[float, typer.Option(help="Deviation of weights, in quantization steps.")] = 4.0,
    sigma_activation: Annotated[float, typer.Option(help="Deviation of activations, in quantization steps.")] = 5.0,
    stage_ratios: Annotated[str, typer.Option(help="Weight of each score stage.")] = "0,0,1,1,6",
    kind: Annotated[Literal["madnas", "deepmad"], typer.Option(help="QE-Score, or the score of DeepMAD.")] = "madnas",
    alpha1: Annotated[float, typer.Option(help="Weight of channels in DeepMAD's entropy.")] = 1.0,
    alpha2: Annotated[float, typer.Option(help="Weight of kernels in DeepMAD's entropy.")] = 1.0,
    profile: Annotated[
        str | None, typer.Option(help="Add the BitOps that this device executes.", autocompletion=completion.profiles)
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Layers too, in JSON or for many structures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    quiet: QuietOption = False,
    lightnas: Annotated[
        bool, typer.Option("--lightnas", help="Print the structures as LightNAS text, and nothing else.")
    ] = False,
) -> None:
    """Print the score, BitOps, size and peak memory of structures, and each layer's part."""
    from qedeploy import api
    from qedeploy.errors import UserError
    from qedeploy.search.score.settings import score_settings

    if lightnas and as_json:
        raise UserError("--json and --lightnas: expected one of the two; leave the other out")
    if lightnas:
        from qedeploy.network.lightnas import to_text

        print(to_text(*(structure for _, structure in _structures(files))), end="")
        return
    settings = score_settings(
        sigma_weight=sigma_weight,
        sigma_activation=sigma_activation,
        stage_ratios=stage_ratios,
        kind=kind,
        alpha1=alpha1,
        alpha2=alpha2,
    )
    device = api.profile(profile) if profile is not None else None
    reports = (
        api.score(structure, name=where, settings=settings, profile=device, resolution=resolution)
        for where, structure in _structures(files)
    )
    if as_json:
        import json

        from qedeploy.search.score.report import report_document

        for report in reports:
            print(json.dumps(report_document(report, per_layer=per_layer)))
        return
    from qedeploy.cli.score_tables import print_scores

    shown = tuple(reports)
    if not quiet:
        print_scores(shown, per_layer=per_layer)


def _structures(files: list[str]) -> Iterator[tuple[str, Structure]]:
    import sys

    from qedeploy.files import decode_text
    from qedeploy.network.structure_file import parse_structures, read_structures

    for name in files:
        if name == "-":
            yield from parse_structures(decode_text(sys.stdin.buffer.read(), "standard input"), "standard input")
        else:
            yield from read_structures(Path(name))
