"""`qedeploy bench`: measure a model, attribute its time, compare it, and write bench.json and report.html."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import DurationOption, LatencyTableOption, QuietOption, ThreadsOption, VerboseOption
from qedeploy.cli.runtime_options import FROM, given_settings


def bench(
    context: typer.Context,
    model: Annotated[
        Path | None, typer.Argument(help="Model to measure: an .onnx file, or an engine that a runtime built from one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; beside the model by default.")] = None,
    threads: ThreadsOption = 1,
    batch: Annotated[int | None, typer.Option(min=1, help="Batch where the model leaves it open (1).")] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=SIZES", help="Shape of an input that the model leaves open: image=1x3x224x224."),
    ] = None,
    duration: DurationOption = "3s",
    warm_up: Annotated[str, typer.Option(help="Time to run before measuring.")] = "200ms",
    iterations: Annotated[int, typer.Option(min=1, help="Least number of queries to measure.")] = 10,
    twins: Annotated[bool, typer.Option(help="Time the same network in float32 and in W8A8 beside it.")] = True,
    against: Annotated[Path | None, typer.Option(help="Another model to compare with, in alternation.")] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="Measure on this runtime, and the same file on its own runtime beside it, in alternation."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Labelled pictures: count what the model gets right of those to test on."),
    ] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Exit with 3 if so: p50>1.05x (of --against), p99>4ms, throughput<200/s.")
    ] = None,
    max_variation: Annotated[
        float,
        typer.Option(
            min=0.0, help="Percent of variation above which a run counts as unstable and gates are not judged."
        ),
    ] = 2.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    latency_table: LatencyTableOption = None,
    update_table: Annotated[
        bool, typer.Option("--update-table", help="Feed the measured layers back to the latency table.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="TOML file of the model's profile, for the table, unless it ships with qedeploy.")
    ] = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print bench.json instead of tables.")] = False,
) -> None:
    """Measure a model: latency, where it goes layer by layer, and what the bits gained.

    Writes bench.json and report.html. Exit code 3 if a --fail-if gate fails, or cannot be judged because the run was
    unstable or its interval contains the limit; also if --update-table cannot use the run.
    """
    from qedeploy import api
    from qedeploy.cli.progress import stages_shown
    from qedeploy.screen import line, screen
    from qedeploy.units import parse_seconds
    from qedeploy.words import listed

    settings = given_settings(context)
    recorded = {name.removeprefix(FROM): settings.pop(name) for name in list(settings) if name.startswith(FROM)}
    with stages_shown(screen(stderr=True), quiet=quiet) as say:
        measured = api.bench(
            model,
            recorded=recorded,
            threads=threads,
            batch=batch,
            seconds=parse_seconds(duration, "--duration"),
            warm_up=parse_seconds(warm_up, "--warm-up"),
            iterations=iterations,
            twins=twins,
            against=against,
            runtime=runtime,
            data=data,
            gates=fail_if or (),
            shapes=shape or (),
            variation_limit=max_variation / 100,
            seed=seed,
            latency_table=latency_table,
            update_table=update_table,
            profile=profile,
            settings=settings,
            folder=out,
            keep=True,
            progress=say,
        )
    if json:
        from qedeploy.bench.report.document import to_text

        typer.echo(to_text(measured.result), nl=False)
    elif not quiet:
        from qedeploy.cli.bench_tables import print_headline, print_result, stdout_console

        console = stdout_console()
        print_result(measured.result, console, verbose=verbose)
        if measured.written is not None:
            if measured.written.kept:
                console.print(line(f"kept earlier results as {listed(measured.written.kept)}"), soft_wrap=True)
            console.print(line(f"wrote {measured.written.document} and {measured.written.report}"), soft_wrap=True)
        print_headline(measured.result, console)
    measured.enforce()
