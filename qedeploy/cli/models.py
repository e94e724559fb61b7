"""`qedeploy models`: the published models, recomputed, built, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import JsonOption, ProfileOption, QuietOption

if TYPE_CHECKING:
    from qedeploy.bench.published import PublishedBench

app = typer.Typer(
    help="List the published models with figures recomputed; build or measure them.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    bench: Annotated[bool, typer.Option("--bench", help="Export all, and time them beside searched ones.")] = False,
    profile: Annotated[
        str, typer.Option(help="Device to export for, with --bench.", autocompletion=completion.profiles)
    ] = "cpu-int8",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads, with --bench.")] = 1,
    duration: Annotated[str, typer.Option(help="Least time to measure each, with --bench.")] = "3s",
    out: Annotated[Path | None, typer.Option(help="Folder to keep what --bench exports.")] = None,
    quiet: QuietOption = False,
) -> None:
    """List the published models: printed figures beside recomputed ones, and which accounting gives which."""
    if context.invoked_subcommand is not None:
        return
    from qedeploy import api

    found = api.models()
    measured = _measure(profile, threads, duration, out, quiet=quiet) if bench else None
    if as_json:
        import json
        from dataclasses import asdict

        from qedeploy.search.score.published_figures import published_document

        document = {"models": published_document(found), "measured": asdict(measured) if measured else None}
        print(json.dumps(document, indent=2))
        return
    if quiet:
        return
    from qedeploy.cli.models_tables import print_models

    print_models(found, measured)


@app.command("build")
def build(
    name: Annotated[
        str, typer.Argument(help="Name of a published model, such as mixed7d0g.", autocompletion=completion.models)
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; by default NAME.pth.")] = None,
    profile: ProfileOption = "cpu-int8",
    classes: Annotated[int | None, typer.Option(min=1, help="Classes instead of 1000.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Square input in pixels instead of 224.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights.")] = 0,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a published model as model.pth, with initialised weights to train."""
    from qedeploy import api
    from qedeploy.cli.model_lines import model_document, model_lines
    from qedeploy.files import json_text
    from qedeploy.network.published import find_published
    from qedeploy.screen import screen

    model = find_published(name)
    target = out or Path(f"{model.name.lower()}.pth")
    network = api.build(model.name, profile=profile, classes=classes, resolution=resolution, seed=seed, out=target)
    weights = f"{model.name} with initialised weights, seed {seed}"
    if as_json:
        typer.echo(json_text(model_document(network, target, api.profile(profile))), nl=False)
        return
    console = screen(quiet=quiet)
    for line in model_lines(network, weights, target, api.profile(profile), trained=False):
        console.print(line, soft_wrap=True)


def _measure(profile: str, threads: int, duration: str, out: Path | None, *, quiet: bool) -> PublishedBench:
    from qedeploy import api
    from qedeploy.screen import screen, working
    from qedeploy.units import parse_seconds

    seconds = parse_seconds(duration, "--duration")
    with working(screen(stderr=True, quiet=quiet)) as say:
        return api.bench_models(profile, threads=threads, seconds=seconds, folder=out, progress=say)
