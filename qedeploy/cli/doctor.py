"""`qedeploy doctor`: what this machine can do, and what to install for the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from qedeploy.cli.options import QuietOption


def doctor(
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which runtimes and devices this machine has, and what to install for the rest."""
    from dataclasses import asdict

    from qedeploy import __version__, api

    machine = api.machine()
    findings = api.doctor(machine)
    if as_json:
        import json

        print(json.dumps({"machine": asdict(machine), "findings": [asdict(item) for item in findings]}, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from qedeploy.screen import screen

    colours = {"ready": "green", "limited": "yellow", "missing": "red"}
    table = Table(title=f"This machine: {machine.system}, Python {machine.python}", title_justify="left")
    for heading in ("", "state", "found", "to mend it"):
        table.add_column(heading, overflow="fold")
    for item in findings:
        table.add_row(item.name, Text(item.status, colours[item.status]), Text(item.detail), Text(item.remedy))
    console = screen(quiet=quiet)
    console.print(table)
    console.print(
        Text.assemble(f"qedeploy {__version__}; profiles for this machine and others: ", ("qedeploy profiles", "bold"))
    )
