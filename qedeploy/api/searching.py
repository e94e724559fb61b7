"""Search, score, front and proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qedeploy.api.arguments import as_path

if TYPE_CHECKING:
    from qedeploy.network.structure import Structure
    from qedeploy.profiles.profile import Profile
    from qedeploy.search.audit.checks import Check
    from qedeploy.search.exact.pareto import Front
    from qedeploy.search.run import FinishedSearch
    from qedeploy.search.score.kinds.qe_score import QeScore
    from qedeploy.search.score.report import ScoreReport

FRONT_POINTS = 24
"""Points of a front, its ends among them, unless told otherwise."""


def score(
    structure: Structure | Path | str,
    *,
    settings: QeScore | None = None,
    profile: Profile | str | None = None,
    resolution: int | None = None,
    name: str | None = None,
) -> ScoreReport:
    """Return score and costs of a structure, or of the one in a file, whole and per layer.

    `profile` adds the BitOps that its device executes; `resolution` (pixels) replaces the structure's; `name` is what
    the report calls it.

    >>> report = score(models()[-1].structure)
    >>> print(f"{report.score:.3f} nats, {report.costs.bitops / 1e9:.2f} GBitOps")
    1224.537 nats, 6.84 GBitOps
    """
    from dataclasses import replace

    from qedeploy.network.structure_file import read_structure
    from qedeploy.profiles.loader import load_profile
    from qedeploy.search.score.kinds.qe_score import QeScore
    from qedeploy.search.score.report import score_report

    if isinstance(structure, Path | str):
        name, structure = name or str(structure), read_structure(Path(structure))
    if resolution is not None:
        structure = replace(structure, resolution=resolution)
    device = load_profile(profile) if isinstance(profile, str) else profile
    return score_report(structure, name or "structure", settings or QeScore(), device)


def search(
    profile: str,
    recipe: str | None = None,
    *,
    budgets: Mapping[str, float | str] | Iterable[str] | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    latency_table: Path | str | None = None,
    against: str | None = None,
    method: Literal["exact", "evolution"] = "exact",
    top: int = 1,
    seed: int = 0,
    evaluations: int | None = None,
    population: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    folder: Path | str | None = None,
    keep: bool = False,
    model: bool = True,
    lightnas: bool = False,
    runnable: bool = False,
    progress: Callable[[Any], None] | None = None,
) -> FinishedSearch:
    """Return the network with the best QE-Score on a device under budgets, and what is proven of it.

    Args:
        profile: the device: a name, or the path of a TOML file.
        recipe: space and budgets: a name or the path of a TOML file; by default the profile's.
        budgets: limits that replace the recipe's, such as `{"bitops": "7.0G", "latency": "4ms"}` or
            `["bitops=7.0G"]`; numbers count operations, bytes, layers and seconds.
        resolution: input in pixels, instead of the recipe's.
        classes: how many the network tells apart, instead of the recipe's.
        latency_table: a file to predict latency from; by default what `measure` kept for the profile.
        against: the budget that a `front` is sought against next; for latency, it is predicted then.
        method: `exact` with a proof, `evolution` by mutation.
        top: how many shapes to find (exact).
        seed: of the weights of model.pth, and of evolution.
        evaluations: structures to score (evolution; 500,000 by default).
        population: structures to keep (evolution; 512 by default).
        workers: processes that help (evolution; 1 by default).
        cluster: address of a Dask scheduler whose workers help instead (evolution).
        folder: write structure.json, search.json and model.pth there.
        keep: write them also where no folder is named: to one below runs/ that the same search leads to again.
        model: write model.pth, the network with initialised weights.
        lightnas: write best_structure.txt, in LightNAS's form.
        runnable: refuse a profile that no runtime executes, before the search.
        progress: gets `Bounds` from the exact search, `TrainingProgress` from evolution; both say in words where it is.

    Raises:
        RequestError: where nothing fits, with the proof in the message, or the profile cannot run the recipe.
        UserError: for what cannot be read or written, and settings that the method does not have.
        Interrupted: on Ctrl-C, where evolution left a checkpoint from which the same call goes on. The exact search
            returns the best so far instead; `interrupted` says so.

    >>> found = search("any-bits", "mixed-7d0g", top=2)
    >>> [f"{item.score:.2f}" for item in found.found]
    ['1233.48', '1233.45']
    >>> found.certificate.gap < 1e-9
    True
    """
    from contextlib import ExitStack

    from qedeploy.model.writer import ModelWriter, model_writing
    from qedeploy.search.methods import EXACT, refuse_mixed

    refuse_mixed(
        method,
        top=top,
        pareto=against,
        evaluations=evaluations,
        population=population,
        workers=workers,
        cluster=cluster,
    )
    wanted = model and (keep or folder is not None)
    with ExitStack() as stack:
        # Before the search is so much as imported: what writes the model gets ready meanwhile.
        writer = stack.enter_context(ModelWriter()) if wanted and method == EXACT else None
        from qedeploy.search.costs.budgets.latency import LATENCY
        from qedeploy.search.exact.search import front_budget
        from qedeploy.search.request import limits_of, make_request
        from qedeploy.search.run import SearchFolder, run_evolution, run_exact

        latency = against is not None and front_budget(against) == LATENCY
        limits, table = limits_of(budgets or {}), as_path(latency_table)
        request = make_request(profile, recipe, limits, resolution, table, classes=classes, need_latency=latency)
        if runnable:
            request.profile.require_runtime()
        write_model = model_writing(seed, writer) if wanted else None
        target = SearchFolder(folder=as_path(folder), keep=keep, write_model=write_model, lightnas=lightnas)
        if method == EXACT:
            return run_exact(request, target, count=top, progress=progress)
        from qedeploy.search.evolution.evolution import EvolutionSettings

        settings = EvolutionSettings(seed=seed, evaluations=evaluations or 500_000, population=population or 512)
        return run_evolution(request, settings, target, workers=workers or 1, cluster=cluster, progress=progress)


def front(
    found: FinishedSearch,
    against: str,
    *,
    points: int = FRONT_POINTS,
    workers: int = 1,
    cluster: str | None = None,
    folder: Path | str | None = None,
) -> Front:
    """Return the front of score against one budget, each point an exact search in the space of `found`.

    `against` is the budget's name, such as `flops`; `latency` needs a search that predicted it. At most `points` are
    sought, by so many `workers` or by those of the Dask scheduler at `cluster`. With a `folder` front.json and
    front.svg are written into it. Ctrl-C ends it with the points so far, and `interrupted` says so.

    >>> found = search("cpu-int8", "mixed-7d0g")
    >>> [f"{point.score:.0f} at {point.cost / 1e9:.2f} GBitOps" for point in front(found, "bitops", points=2).points]
    ['271 at 0.32 GBitOps', '1233 at 6.98 GBitOps']
    """
    from qedeploy.files import working_in
    from qedeploy.search.exact.front_files import write_front
    from qedeploy.search.exact.pareto import front as find_front
    from qedeploy.search.exact.search import front_budget

    request, kind = found.request, front_budget(against)
    line = find_front(request.space, request.budgets, kind, points=points, workers=workers, cluster=cluster)
    if folder is not None:
        with working_in(Path(folder)):
            write_front(Path(folder), line, request)
    return line


def verify(path: Path | str, *, profile: str | None = None) -> list[Check]:
    """Return every check of a finished search, recomputed by a second route: score, costs, bound, hashes.

    `path` is a search.json or the folder of one, whose other files are checked too, or the assignment.json of
    `quantize`, or its folder; `profile` is the device's TOML
    file where it is none that ships. A check `holds`, does not (False), or could not be settled (None).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = search("cpu-int8", "k1dwk1-mcu", folder=folder, model=False)
    ...     checks = verify(folder)
    >>> all(check.holds for check in checks)
    True
    """
    from qedeploy.search.audit.assignment_checks import ASSIGNMENT_FILE, assignment_checks
    from qedeploy.search.audit.verification import verify as checks_of
    from qedeploy.search.result import SEARCH_FILE

    path = Path(path)
    assigned = path / ASSIGNMENT_FILE if path.is_dir() and not (path / SEARCH_FILE).exists() else path
    if assigned.name == ASSIGNMENT_FILE and assigned.is_file():
        return assignment_checks(assigned)
    return checks_of(path, _structure_of, profile=profile)


def _structure_of(model: Path) -> Structure:
    from qedeploy.model.checkpoint import load_checkpoint

    return load_checkpoint(model).structure
