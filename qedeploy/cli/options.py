"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli import completion

ProfileOption = Annotated[
    str,
    typer.Option(
        help="Device: a name that `qedeploy profiles` lists, or a TOML file.", autocompletion=completion.profiles
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(help="Space and budgets: a name or a TOML file.", autocompletion=completion.recipes),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND=LIMIT", help="Limit such as bitops=7.0G or latency=4ms; repeat for more."),
]
LatencyTableOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Measured layers to predict latency from; by default what `qedeploy measure` kept for the profile.",
    ),
]
FolderOption = Annotated[Path | None, typer.Option(help="Folder to write to; by default one below runs/.")]
ThreadsOption = Annotated[int, typer.Option(min=1, max=1024, help="Threads that compute one query.")]
DurationOption = Annotated[str, typer.Option(help="Least time to measure each model for.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print details too.")]
NoFlipOption = Annotated[bool, typer.Option("--no-flip", help="Mirror no pictures: digits and letters have a side.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
ClusterOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster to run on, such as tcp://host:8786."),
]
