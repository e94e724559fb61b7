"""`qedeploy models`: the published models, recomputed, built, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    profile: Annotated[str, typer.Option(help="Device to export for, with --bench.")] = "cpu-int8",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads, with --bench.")] = 1,
    duration: Annotated[str, typer.Option(help="Least time to measure each, with --bench.")] = "3s",
    out: Annotated[Path | None, typer.Option(help="Folder to keep what --bench exports.")] = None,
) -> None:
    """List the published models: printed figures beside recomputed ones, and which accounting gives which."""
    if context.invoked_subcommand is not None:
        return
    from qedeploy.network.published import published_models
    from qedeploy.search.score.published_table import (
        accounting_notes,
        accounting_tables,
        published_document,
        published_table,
    )

    found = published_models()
    measured = _measure(profile, threads, duration, out) if bench else None
    if as_json:
        import json
        from dataclasses import asdict

        document = {"models": published_document(found), "measured": asdict(measured) if measured else None}
        print(json.dumps(document, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for table in (published_table(found), *accounting_tables(found)):
        console.print(table)
    for note in accounting_notes(found):
        console.print(note, style="dim")
    if measured is not None:
        from qedeploy.bench.published import measured_notes, measured_table

        console.print(measured_table(measured))
        for note in measured_notes(measured):
            console.print(note, style="dim")
    console.print("\nOne of them as a model with initialised weights: qedeploy models build NAME")


@app.command("build")
def build(
    name: Annotated[str, typer.Argument(help="Name of a published model, such as mixed7d0g.")],
    out: Annotated[Path | None, typer.Option(help="File to write; by default NAME.pth.")] = None,
    profile: Annotated[str, typer.Option(help="Device: a name or a TOML file.")] = "cpu-int8",
    classes: Annotated[int | None, typer.Option(min=1, help="Classes instead of 1000.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Square input in pixels instead of 224.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights.")] = 0,
) -> None:
    """Write a published model as model.pth, with initialised weights to train."""
    from rich.console import Console

    from qedeploy.model.importing import build_published
    from qedeploy.model.summary import model_lines
    from qedeploy.network.published import find_published
    from qedeploy.profiles.loader import load_profile

    model, device = find_published(name), load_profile(profile)
    target = out or Path(f"{model.name.lower()}.pth")
    network = build_published(
        model, target, profile=device, profile_argument=profile, classes=classes, resolution=resolution, seed=seed
    )
    console = Console(highlight=False)
    for line in model_lines(network, f"{model.name} with initialised weights, seed {seed}", target, device):
        console.print(line, soft_wrap=True)


def _measure(profile: str, threads: int, duration: str, out: Path | None) -> PublishedBench:
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from rich.console import Console

    from qedeploy.bench.published import bench_published
    from qedeploy.network.published import published_models
    from qedeploy.runtimes.runner import RunnerOptions
    from qedeploy.runtimes.timing import TimingProtocol, parse_seconds

    protocol = TimingProtocol(duration=parse_seconds(duration, "--duration"))
    with ExitStack() as stack, Console(stderr=True).status("") as status:
        folder = out or Path(stack.enter_context(TemporaryDirectory()))
        return bench_published(
            published_models(),
            folder,
            profile_name=profile,
            protocol=protocol,
            options=RunnerOptions(threads=threads),
            progress=status.update,
        )
