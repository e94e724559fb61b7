"""`qedeploy profiles`: the devices that can be named, and what each of them executes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import QuietOption

app = typer.Typer(
    help="List the device profiles, or show one.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.callback()
def profiles(context: typer.Context, as_json: AsJson = False, quiet: QuietOption = False) -> None:
    """List the device profiles: runtime, precisions per layer kind, memory limits."""
    if context.invoked_subcommand is not None:
        return
    from qedeploy import api

    found = api.profiles()
    if as_json:
        import json

        from qedeploy.profiles.describe import profile_document

        print(json.dumps([profile_document(profile) for profile in found], indent=2))
        return
    from qedeploy.cli.profile_tables import profiles_table
    from qedeploy.screen import screen

    console = screen(quiet=quiet)
    console.print(profiles_table(found))
    console.print("\nOne of them in full: qedeploy profiles show NAME. A TOML file of your own goes by its path.")


@app.command("show")
def show(
    profile: Annotated[
        str, typer.Argument(help="Name of a profile, or the path of a TOML file.", autocompletion=completion.profiles)
    ],
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Show one profile: every figure with its source, and what each bit pair is lowered to."""
    from qedeploy import api

    found = api.profile(profile)
    tables = api.latency_tables(found.name)
    if as_json:
        import json

        from qedeploy.profiles.describe import profile_document

        print(json.dumps({**profile_document(found), "latency_tables": tables}, indent=2))
        return
    from qedeploy.cli.profile_tables import facts_table, lowering_table
    from qedeploy.screen import screen

    console = screen(quiet=quiet)
    console.print(found.name, style="bold", highlight=False)
    console.print(facts_table(found))
    console.print()
    console.print(lowering_table(found))
    for table in tables:
        console.print(f"latency table: {_kept(table)}", highlight=False)
    if not tables and not found.search_only:
        console.print(f"latency table: none; qedeploy measure --profile {profile} makes one", highlight=False)


def _kept(table: dict[str, Any]) -> str:
    if "fault" in table:
        return str(table["fault"])
    error = "" if table["error"] is None else f", {table['error']:.1%} off on {table['networks']} whole networks"
    return f"{table['device']}, {table['date'][:10]}, {table['points']} points{error}"
