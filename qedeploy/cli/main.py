"""The `qedeploy` command: gathers the commands and turns what a user did wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from qedeploy import __version__
from qedeploy.cli import (
    bench,
    compare,
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
from qedeploy.folder_lock import until_the_end
from qedeploy.printable import one_line


def _alone(function: Callable[..., Any], cls: type[typer.core.TyperCommand] | None = None) -> typer.Typer:
    """Return an application of one command."""
    made = typer.Typer(add_completion=False)
    made.command(cls=cls)(function)
    return made


APPLICATIONS: Mapping[str, typer.Typer] = {
    "bench": _alone(bench.bench, BenchCommand),
    "compare": _alone(compare.compare),
    "correlate": _alone(correlate.correlate),
    "doctor": _alone(doctor.doctor),
    "evaluate": _alone(evaluate.evaluate),
    "export": _alone(export.export, ExportCommand),
    "import": _alone(import_.import_),
    "measure": _alone(measure.measure),
    "models": models.app,
    "profiles": profiles.app,
    "quantize": _alone(quantize.quantize),
    "run": _alone(run.run),
    "score": _alone(score.score),
    "search": _alone(search.search),
    "train": _alone(train.train),
    "verify": _alone(verify.verify),
}
"""What each command is made from, in the order of `--help`."""


class _MadeWhenNamed(Mapping[str, Any]):
    """The commands by name. Each is made when it is asked for: all of them take longer than many a command runs."""

    def __getitem__(self, name: str) -> Any:
        return _made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(APPLICATIONS)

    def __len__(self) -> int:
        return len(APPLICATIONS)


@cache
def _made(name: str) -> Any:
    command = typer.main.get_command(APPLICATIONS[name])
    command.name = name
    return command


class Commands(typer.core.TyperGroup):
    """The commands; an interruption is said in a word, and a reader that has seen enough is no error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": _MadeWhenNamed()})

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the arguments; `--help` and `--version` are answered here."""
        with _quiet_reader():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> None:
        """Run the command that was named; what it returns is for callers in Python."""
        try:
            with _quiet_reader(), until_the_end():
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


def main() -> None:
    """Run the command line; exit codes are those of `qedeploy.errors`, 70 for a fault of its own, 130 for Ctrl-C."""
    # A path need not be UTF-8, and a terminal need not be able to show it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Whatever plugins of pydantic are installed, our files have no use for them: looking for them takes time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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
