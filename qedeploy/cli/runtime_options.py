"""Options that the runtimes contribute to a command, found when the command is parsed and not before."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main
import typer.models

if TYPE_CHECKING:
    from qedeploy.runtimes.options import Option

_SETTINGS = "qedeploy.settings"

FROM = "from_"
"""What options that name a folder with a recorded run begin with, before the tool that recorded it."""


class RuntimeCommand(typer.core.TyperCommand):
    """A command with options of the runtimes beside its own: `given_settings` has their values."""

    def get_params(self, ctx: Any) -> Any:
        """Return the command's own options, those of the runtimes, and --help."""
        *own, asking_help = super().get_params(ctx)
        return [*own, *_parameters(self.contributed()), asking_help]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what the runtimes contributed is none of its function's arguments."""
        ctx.meta[_SETTINGS] = {name: ctx.params.pop(name) for name in self.contributed() if name in ctx.params}
        return super().invoke(ctx)

    def contributed(self) -> Mapping[str, tuple[Any, typer.models.OptionInfo]]:
        """Return the type and the declaration of each contributed option, by the name of its value."""
        raise NotImplementedError


class BenchCommand(RuntimeCommand):
    """`qedeploy bench`, with what can be set of a run, and the recordings that can be read instead."""

    def contributed(self) -> Mapping[str, tuple[Any, typer.models.OptionInfo]]:
        """Return the options of a run, and one for each tool whose recordings can be read."""
        from qedeploy.runtimes.registry import recordings, run_options

        folders = {
            f"{FROM}{tool}": (Path | None, typer.Option(metavar="DIR", help=item.help))
            for tool, item in recordings().items()
        }
        return {**folders, **{option.name: _declared(option) for option in run_options()}}


class ExportCommand(RuntimeCommand):
    """`qedeploy export`, with what can be set of a build."""

    def contributed(self) -> Mapping[str, tuple[Any, typer.models.OptionInfo]]:
        """Return the options of a build."""
        from qedeploy.runtimes.registry import build_options

        return {option.name: _declared(option) for option in build_options()}


def given_settings(context: typer.Context) -> dict[str, Any]:
    """Return the values of the runtimes' options by name, those that were not given left out."""
    return {name: value for name, value in context.meta.get(_SETTINGS, {}).items() if value is not None}


def _declared(option: Option) -> tuple[Any, typer.models.OptionInfo]:
    default = option.default
    if isinstance(default, bool):
        default = option.name.replace("_", "-") if default else f"no-{option.name.replace('_', '-')}"
    # The value is None where it is not given, so that each runtime's own default stands: this one is only shown.
    shown = False if default is None else str(default)
    return option.kind | None, typer.Option(metavar=option.metavar, help=option.help, show_default=shown)


def _parameters(options: Mapping[str, tuple[Any, typer.models.OptionInfo]]) -> list[Any]:
    """Return the options as Typer makes them of a function's parameters, None where they are not given."""

    def command() -> None: ...

    annotations = {name: Annotated[kind, info] for name, (kind, info) in options.items()}
    command.__annotations__ = dict(annotations)
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in annotations.items()
        ]
    )
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return list(typer.main.get_command(app).params)
