"""A search from request to files: by either method, interrupted or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.errors import Interrupted
from qedeploy.files import replacing, working_in
from qedeploy.network.structure import Structure
from qedeploy.publishing import together
from qedeploy.search.costs.budgets.planned import SRAM
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.exact.certificate import Certificate, ProofStatus
from qedeploy.search.exact.search import Bounds, method_settings, search_exactly
from qedeploy.search.exact.solver import Found
from qedeploy.search.methods import EVOLUTION, EXACT
from qedeploy.search.request import Request
from qedeploy.search.result import (
    MODEL_FILE,
    STRUCTURE_FILE,
    SearchResult,
    result_folder,
    search_document,
    settings_document,
    write_lightnas,
    write_result,
)
from qedeploy.search.tightening import search_within_plan, tightened, with_limit

if TYPE_CHECKING:
    from qedeploy.search.evolution.evolution import EvolutionSettings
    from qedeploy.search.evolution.solver import EvolutionProgress

CHECKPOINT_FILE = "search.checkpoint.npz"

WriteModel = Callable[[Path, Request, Structure], None]
"""Writes a network of a structure with initialised weights to a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSearch:
    """A search that ended: what was asked and what it found.

    `found` has the best shapes, best first, and `certificate` says what is proven of the first; evolution proves
    nothing. `seconds` is what the search itself took. `written` is the file to go on with, None where none was.
    """

    request: Request
    result: SearchResult
    seconds: float
    found: tuple[Found, ...]
    certificate: Certificate | None = None
    written: Path | None = None

    @property
    def structure(self) -> Structure:
        """The best structure."""
        return self.result.structure

    @property
    def score(self) -> float:
        """Its score; QE-Score is in nats."""
        return self.request.recipe.score.of(self.structure)

    @property
    def costs(self) -> dict[str, float]:
        """All that a budget can limit of it, by the budget's name: operations, bytes, layers, seconds."""
        return {budget.name: cost for budget, cost in budget_costs(self.structure, self.request.space).items()}

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search; then the structure is the best so far."""
        return self.certificate is not None and self.certificate.status is ProofStatus.INTERRUPTED

    @property
    def folder(self) -> Path | None:
        """Where structure.json and search.json are, None where nothing was written."""
        return None if self.written is None else self.written.parent

    @property
    def model(self) -> Path | None:
        """The model.pth that was written, None where none was."""
        return self.written if self.written is not None and self.written.name == MODEL_FILE else None

    def document(self) -> dict[str, Any]:
        """Return what search.json has: equal for equal searches."""
        return search_document(self.request, self.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFolder:
    """Where a search goes: `folder`, or with `keep` one below runs/ where none is named, or else nowhere.

    Without `write_model` it has no model.pth; `lightnas` adds best_structure.txt.
    """

    folder: Path | None = None
    keep: bool = False
    write_model: WriteModel | None = None
    lightnas: bool = False

    def resolve(self, request: Request, settings: Mapping[str, Any]) -> Path | None:
        """Return the folder, None for none; raises UserError where it is a file."""
        if self.folder is None and not self.keep:
            return None
        return result_folder(request, settings, self.folder)

    def write(self, folder: Path | None, request: Request, result: SearchResult) -> Path | None:
        """Write the result and return the file to go on with; UserError where it is not taken."""
        if folder is None:
            return None
        with together(folder):
            if self.write_model is not None:
                with replacing(folder / MODEL_FILE) as temporary:
                    self.write_model(temporary, request, result.structure)
            write_result(folder, request, result)
            if self.lightnas:
                write_lightnas(folder)
        return folder / (STRUCTURE_FILE if self.write_model is None else MODEL_FILE)


def run_exact(
    request: Request,
    target: SearchFolder = SearchFolder(),
    *,
    count: int = 1,
    progress: Callable[[Bounds], None] | None = None,
) -> FinishedSearch:
    """Return the best structure with its certificate, and as many as `count` shapes; written where `target` says.

    Raises RequestError where nothing fits, UserError where the folder takes no files.
    """
    folder = target.resolve(request, settings_document(request, EXACT, method_settings(count)))
    with working_in(folder):
        began = time.monotonic()
        held = search_within_plan(
            request,
            lambda part: search_exactly(
                part,
                count=count,
                progress=None if progress is None else lambda *stand: progress(Bounds.of(*stand)),
            ),
        )
        request, result, solution = held.request, held.result, held.solution
        seconds = time.monotonic() - began
        written = target.write(folder, request, result)
    return FinishedSearch(
        request=request,
        result=result,
        seconds=seconds,
        found=solution.found,
        certificate=solution.certificate,
        written=written,
    )


def run_evolution(
    request: Request,
    settings: EvolutionSettings,
    target: SearchFolder = SearchFolder(),
    *,
    workers: int = 1,
    cluster: str | None = None,
    progress: Callable[[EvolutionProgress], None] | None = None,
) -> FinishedSearch:
    """Return the best structure that evolution finds; written where `target` says, with a checkpoint on the way.

    Raises RequestError where nothing fits, UserError where the folder takes no files, Interrupted on Ctrl-C where a
    checkpoint keeps the search.
    """
    from qedeploy.search.evolution import solver
    from qedeploy.search.evolution.state_file import StateFile

    document = settings_document(request, EVOLUTION, asdict(settings))
    folder = target.resolve(request, document)
    kept = [] if folder is None else [StateFile(path=folder / CHECKPOINT_FILE, settings=document)]
    with working_in(folder):
        began, asked = time.monotonic(), request
        try:
            while True:
                result = solver.solve(
                    request.space,
                    request.budgets,
                    settings,
                    start=request.recipe.start,
                    checkpoint=kept[-1] if kept else None,
                    workers=workers,
                    cluster=cluster,
                    watch=progress,
                )
                tighter = tightened(request, asked.budgets.get(SRAM), result.structure)
                if tighter is None:
                    break
                request = tighter
                if folder is not None:
                    # Those of the rounds before stay: a search that is interrupted goes through them again at once.
                    name = f"search.checkpoint-{len(kept) + 1}.npz"
                    tighter_document = settings_document(request, EVOLUTION, asdict(settings))
                    kept.append(StateFile(path=folder / name, settings=tighter_document))
            if request is not asked:
                result = with_limit(result, asked)
            seconds = time.monotonic() - began
            written = target.write(folder, request, result)
        except KeyboardInterrupt as stop:
            if not kept or not kept[-1].path.exists():
                raise
            raise Interrupted(f"{kept[-1].path} keeps the search; the same command goes on from there") from stop
        for checkpoint in kept:
            checkpoint.remove()
    found = Found(structure=result.structure, score=request.recipe.score.of(result.structure))
    return FinishedSearch(request=request, result=result, seconds=seconds, found=(found,), written=written)
