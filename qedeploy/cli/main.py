"""The `qedeploy` command: gathers the commands and turns what a user did wrong into one line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import typer.core

from qedeploy import __version__
from qedeploy.cli import (
    bench,
    correlate,
    doctor,
    export,
    import_,
    measure,
    models,
    profiles,
    run,
    score,
    search,
    verify,
)
from qedeploy.cli.runtime_options import BenchCommand, ExportCommand
from qedeploy.errors import UserError


class Commands(typer.core.TyperGroup):
    """The commands; an interruption is said in a word, where Typer would leave in silence."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="qedeploy",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def qedeploy(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Search, export and benchmark quantized networks for a named device."""


app.command("bench", cls=BenchCommand)(bench.bench)
app.command("correlate")(correlate.correlate)
app.command("doctor")(doctor.doctor)
app.command("export", cls=ExportCommand)(export.export)
app.command("import")(import_.import_)
app.command("measure")(measure.measure)
app.add_typer(models.app, name="models")
app.add_typer(profiles.app, name="profiles")
app.command("run")(run.run)
app.command("score")(score.score)
app.command("search")(search.search)
app.command("verify")(verify.verify)


def main() -> None:
    """Run the command line; its exit codes are those of `qedeploy.errors`, 130 for an interruption."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what Python would print about it helps nobody.
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
