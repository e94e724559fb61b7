"""`qedeploy verify`: does a finished search say the truth?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qedeploy.cli.options import QuietOption

if TYPE_CHECKING:
    from qedeploy.search.audit.checks import Check

_VERDICTS = {True: ("yes", ""), False: ("no", "red"), None: ("not settled", "yellow")}


def verify(
    path: Annotated[
        Path, typer.Argument(help="A search.json or assignment.json, or the folder of a search, run or quantize.")
    ],
    profile: Annotated[
        str | None, typer.Option(help="The device's TOML file, where it is not one that ships with qedeploy.")
    ] = None,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Recompute score, costs, bound and hashes of a search or quantize by a second route; 3 where one does not hold."""
    from qedeploy import api

    checks = api.verify(path, profile=profile)
    if as_json:
        from dataclasses import asdict

        from qedeploy.files import json_text

        typer.echo(json_text([asdict(check) for check in checks]), nl=False)
    elif not quiet:
        _print(path, checks)
    if not all(check.holds for check in checks):
        raise typer.Exit(3)


def _print(path: Path, checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from qedeploy.screen import screen

    table = Table(title=str(path), title_justify="left")
    for heading in ("claim", "holds", "recomputed"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.claim, Text(*_VERDICTS[check.holds]), Text(check.detail))
    console = screen()
    console.print(table)
    refuted, open_still = (sum(check.holds is verdict for check in checks) for verdict in (False, None))
    if not refuted and not open_still:
        console.print(f"all {len(checks)} hold")
        return
    console.print(
        f"{len(checks) - refuted - open_still} of {len(checks)} claims hold, {refuted} do not, "
        f"{open_still} could not be settled"
    )
