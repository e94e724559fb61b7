"""`qedeploy verify`: does a finished search say the truth?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    path: Annotated[Path, typer.Argument(help="A search.json, or the folder of a search or a run.")],
    profile: Annotated[
        str | None, typer.Option(help="The device's TOML file, where it is not one that ships with qedeploy.")
    ] = None,
) -> None:
    """Recompute score, costs, bound and hashes of a finished search by a second route; 3 where one does not hold."""
    from rich.console import Console
    from rich.table import Table

    from qedeploy.search.verification import verify as verified

    checks = verified(path, profile=profile)
    table = Table(title=str(path), title_justify="left")
    for heading in ("claim", "holds", "recomputed"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.claim, "yes" if check.holds else "[red]no[/red]", check.detail)
    console = Console(highlight=False)
    console.print(table)
    failed = [check.claim for check in checks if not check.holds]
    console.print(f"{len(checks) - len(failed)} of {len(checks)} claims hold" if failed else f"all {len(checks)} hold")
    if failed:
        raise typer.Exit(3)
