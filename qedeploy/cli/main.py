"""The `qedeploy` command: gathers the commands and turns what a user did wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Annotated, Any

import typer
import typer.core

from qedeploy import __version__
from qedeploy.cli import (
    bench,
    correlate,
    doctor,
    evaluate,
    export,
    import_,
    measure,
    models,
    profiles,
    quantize,
    run,
    score,
    search,
    train,
    verify,
)
from qedeploy.cli.failures import failure
from qedeploy.cli.runtime_options import BenchCommand, ExportCommand
from qedeploy.printable import one_line


class Commands(typer.core.TyperGroup):
    """The commands; an interruption is said in a word, and a reader that has seen enough is no error."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the arguments; `--help` and `--version` are answered here."""
        with _quiet_reader():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> None:
        """Run the command that was named; what it returns is for callers in Python."""
        try:
            with _quiet_reader():
                super().invoke(ctx)
        except KeyboardInterrupt as stop:
            print(one_line(f"interrupted: {stop}") if str(stop) else "interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


@contextmanager
def _quiet_reader() -> Iterator[None]:
    try:
        yield
        # Here and not when Python ends, where it would be too late for an exit code.
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # Rich, which Typer prints its help with, leaves with 1 then: the code of a failed export.
        if not isinstance(error if isinstance(error, BrokenPipeError) else error.__context__, BrokenPipeError):
            raise
        # Into nothing with what is still to be written: head and less have seen enough.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Search, export and benchmark quantized networks for a named device."""


app.command("bench", cls=BenchCommand)(bench.bench)
app.command("correlate")(correlate.correlate)
app.command("doctor")(doctor.doctor)
app.command("evaluate")(evaluate.evaluate)
app.command("export", cls=ExportCommand)(export.export)
app.command("import")(import_.import_)
app.command("measure")(measure.measure)
app.add_typer(models.app, name="models")
app.add_typer(profiles.app, name="profiles")
app.command("quantize")(quantize.quantize)
app.command("run")(run.run)
app.command("score")(score.score)
app.command("search")(search.search)
app.command("train")(train.train)
app.command("verify")(verify.verify)


def main() -> None:
    """Run the command line; exit codes are those of `qedeploy.errors`, 70 for a fault of its own, 130 for Ctrl-C."""
    # A path need not be UTF-8, and a terminal need not be able to show it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        code = app([item for item in arguments if item != "--debug"], prog_name="qedeploy", standalone_mode=False)
    except Exception as error:  # The border: whatever comes here is told in a line.
        if debug:
            traceback.print_exc()
        message, code = failure(error)
        if message:
            print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
