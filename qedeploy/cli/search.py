"""`qedeploy search`: from a device and a budget to a network."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qedeploy.cli.options import (
    BudgetOption,
    ClusterOption,
    FolderOption,
    LatencyTableOption,
    ProfileOption,
    RecipeOption,
)

if TYPE_CHECKING:
    from qedeploy.cli.model_writer import ModelOrder, ModelWriter
    from qedeploy.network.structure import Structure
    from qedeploy.search.evolution.evolution import EvolutionSettings
    from qedeploy.search.request import Request

MODEL_FILE = "model.pth"
CHECKPOINT_FILE = "search.checkpoint.npz"


class Method(StrEnum):
    """How to search."""

    EXACT = "exact"
    EVOLUTION = "evolution"


class Format(StrEnum):
    """What to write the structure as."""

    JSON = "json"
    LIGHTNAS = "lightnas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpers:
    """Who helps a search: so many processes of this machine, or the workers of a Dask scheduler."""

    workers: int = 1
    cluster: str | None = None


def search(
    profile: ProfileOption,
    recipe: RecipeOption = None,
    budget: BudgetOption = None,
    latency_table: LatencyTableOption = None,
    method: Annotated[Method, typer.Option(help="With a proof, or by mutation.")] = Method.EXACT,
    top: Annotated[int, typer.Option(min=1, max=1000, help="List that many shapes (exact).")] = 1,
    pareto: Annotated[
        str | None, typer.Option(metavar="KIND", help="Also the front of score against this budget (exact).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the weights; and of evolution.")] = 0,
    evaluations: Annotated[
        int | None, typer.Option(min=1, help="Structures to score (evolution; by default 500000).")
    ] = None,
    population: Annotated[
        int | None, typer.Option(min=2, help="Structures to keep (evolution; by default 512).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, 4 at most of use (evolution, --pareto; by default 1).")
    ] = None,
    cluster: ClusterOption = None,
    resolution: Annotated[int | None, typer.Option(min=8, help="Input size in pixels.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Structure as structure.json, or as LightNAS's best_structure.txt too.")
    ] = Format.JSON,
    out: FolderOption = None,
    model: Annotated[bool, typer.Option(help="Write model.pth with initialised weights.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> Path:
    """Search for the network with the best QE-Score on a device under a budget."""
    from contextlib import nullcontext

    _refuse_mixed(method, {"--evaluations": evaluations, "--population": population}, top, pareto)
    if method is Method.EXACT and pareto is None:
        _refuse_helpers({"--workers": workers, "--cluster": cluster})
    helpers = Helpers(workers=workers or 1, cluster=cluster)
    if method is Method.EXACT:
        from qedeploy.cli.model_writer import ModelWriter

        with ModelWriter() if model else nullcontext() as writer:
            request = _request(profile, recipe, budget, resolution, latency_table, pareto)
            folder = search_exactly_into(
                request, writer, top=top, pareto=pareto, seed=seed, out=out, helpers=helpers, quiet=quiet
            )
    else:
        request = _request(profile, recipe, budget, resolution, latency_table)
        from qedeploy.search.evolution.evolution import EvolutionSettings

        settings = EvolutionSettings(seed=seed, evaluations=evaluations or 500_000, population=population or 512)
        folder = search_into(request, settings, out=out, helpers=helpers, model=model, quiet=quiet)
    if form is Format.LIGHTNAS:
        from qedeploy.search.result import write_lightnas

        write_lightnas(folder)
    return folder


def _request(
    profile: str,
    recipe: str | None,
    budget: list[str] | None,
    resolution: int | None,
    latency_table: Path | None,
    pareto: str | None = None,
) -> Request:
    from qedeploy.search.costs.budgets.latency import LATENCY
    from qedeploy.search.request import make_request, parse_overrides

    need_latency = pareto == LATENCY.name
    overrides = parse_overrides(budget or ())
    return make_request(profile, recipe, overrides, resolution, latency_table, need_latency=need_latency)


def _refuse_helpers(given: dict[str, object]) -> None:
    from qedeploy.errors import UserError

    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UserError(
            f"{named[0]}: one exact search runs in one process; add --pareto or --method evolution, or leave it out"
        )


def _refuse_mixed(method: Method, evolution: dict[str, int | None], top: int, pareto: str | None) -> None:
    from qedeploy.errors import UserError

    given = [name for name, value in evolution.items() if value is not None]
    if method is Method.EXACT and given:
        raise UserError(f"{given[0]}: the exact search has no such setting; add --method evolution, or leave it out")
    if method is Method.EVOLUTION and (top > 1 or pareto):
        raise UserError(f"{'--top' if top > 1 else '--pareto'}: only with --method exact; evolution proves no order")


def search_exactly_into(
    request: Request,
    writer: ModelWriter | None,
    *,
    top: int = 1,
    pareto: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    helpers: Helpers = Helpers(),
    quiet: bool = False,
) -> Path:
    """Find the best structure, write it with its certificate, print both, and return the folder they are in.

    Without a `writer` no model is written.
    """
    from rich.console import Console

    from qedeploy.search.exact import terminal
    from qedeploy.search.exact.certificate import Status
    from qedeploy.search.exact.search import METHOD, front_budget, method_settings, search_exactly
    from qedeploy.search.result import STRUCTURE_FILE, result_folder, settings_document, write_result
    from qedeploy.search.terminal import print_summary

    kind = None if pareto is None else front_budget(pareto)
    folder = result_folder(request, settings_document(request, METHOD, method_settings(top)), out)
    began = time.monotonic()
    with terminal.bounds_shown(Console(stderr=True), quiet=quiet) as progress:
        result, solution = search_exactly(request, count=top, progress=progress)
    seconds = time.monotonic() - began
    if writer is not None:
        writer.write(model_order(folder / MODEL_FILE, request, result.structure, seed))
    write_result(folder, request, result)
    if not quiet:
        console = Console(highlight=False)
        if top > 1:
            terminal.print_alternatives(console, request, solution.found)
        terminal.print_certificate(console, solution.certificate, request.budgets)
        print_summary(request, result, seconds=seconds, written=folder / (MODEL_FILE if writer else STRUCTURE_FILE))
    if solution.certificate.status is Status.INTERRUPTED:
        raise typer.Exit(130)
    if kind is not None:
        found = terminal.write_front(
            folder, request, kind, workers=helpers.workers, cluster=helpers.cluster, quiet=quiet
        )
        if found.interrupted:
            print(f"interrupted: {folder} keeps the points that were found", file=sys.stderr)
            raise typer.Exit(130)
    return folder


def search_into(
    request: Request,
    settings: EvolutionSettings,
    *,
    out: Path | None = None,
    helpers: Helpers = Helpers(),
    model: bool = True,
    quiet: bool = False,
) -> Path:
    """Search, write structure.json, model.pth and search.json, print a summary, and return the folder they are in."""
    from dataclasses import asdict

    from rich.console import Console

    from qedeploy.search.evolution import solver
    from qedeploy.search.evolution.state_file import Checkpoint
    from qedeploy.search.result import STRUCTURE_FILE, result_folder, settings_document, write_result
    from qedeploy.search.terminal import print_summary, progress_shown

    document = settings_document(request, solver.METHOD, asdict(settings))
    folder = result_folder(request, document, out)
    checkpoint = Checkpoint(path=folder / CHECKPOINT_FILE, settings=document)
    began = time.monotonic()
    try:
        with progress_shown(Console(stderr=True), quiet=quiet) as watch:
            result = solver.solve(
                request.space,
                request.budgets,
                settings,
                start=request.recipe.start,
                checkpoint=checkpoint,
                workers=helpers.workers,
                cluster=helpers.cluster,
                watch=watch,
            )
        seconds = time.monotonic() - began
        if model:
            write_model(folder / MODEL_FILE, request, result.structure, settings.seed)
        write_result(folder, request, result)
    except KeyboardInterrupt:
        if checkpoint.path.exists():
            print(
                f"interrupted: {checkpoint.path} keeps the search; the same command goes on from there", file=sys.stderr
            )
        raise typer.Exit(130) from None
    checkpoint.remove()
    if not quiet:
        print_summary(request, result, seconds=seconds, written=folder / (MODEL_FILE if model else STRUCTURE_FILE))
    return folder


def write_model(path: Path, request: Request, structure: Structure, seed: int) -> None:
    """Write a network of `structure` with initialised weights, the same ones for the same seed."""
    model_order(path, request, structure, seed).fulfil()


def model_order(path: Path, request: Request, structure: Structure, seed: int) -> ModelOrder:
    """Return what it takes to write the network of a search."""
    from qedeploy.cli.model_writer import ModelOrder

    return ModelOrder(
        path=path,
        structure=structure,
        unsigned_activation_bits=request.profile.unsigned_activation_bits,
        seed=seed,
        profile=request.profile_argument,
        recipe=request.document()["recipe"],
    )
