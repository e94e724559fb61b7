"""Measured time: of one model, of the published ones, of a latency table, and what it is correlated with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.api.arguments import as_path, say_nothing
from qedeploy.api.listing import models

if TYPE_CHECKING:
    from qedeploy.bench.measure.stage import BenchStage
    from qedeploy.bench.published import PublishedBench
    from qedeploy.bench.report.output import Bench
    from qedeploy.campaign.correlation_study import CorrelationStudy
    from qedeploy.campaign.measure_table import MeasuredTable
    from qedeploy.campaign.planner import CampaignStanding


def bench(
    model: Path | str | None = None,
    *,
    recorded: Mapping[str, Path] | None = None,
    threads: int = 1,
    batch: int | None = None,
    seconds: float = 3.0,
    warm_up: float = 0.2,
    iterations: int = 10,
    twins: bool = True,
    against: Path | str | None = None,
    runtime: str | None = None,
    data: Path | str | None = None,
    gates: Iterable[str] = (),
    shapes: Iterable[str] = (),
    variation_limit: float = 0.025,
    seed: int = 0,
    latency_table: Path | str | None = None,
    update_table: bool = False,
    profile: str | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[BenchStage], None] | None = None,
) -> Bench:
    """Measure a model: its latency, where it goes layer by layer, and what the bits gained.

    Args:
        model: an .onnx file, or what a runtime builds of one.
        recorded: a folder with a run that another tool recorded, by the tool's name, instead of a model.
        threads: threads that compute one query.
        batch: batch where the model leaves it open (1 by default).
        seconds: least time to measure each model for.
        warm_up: seconds to run before measuring.
        iterations: least number of queries to measure.
        twins: time the same network in float32 and in W8A8 beside it.
        against: another model to compare with, in alternation.
        runtime: measure on the runtime of this name, with the same file on its own runtime beside it, in alternation.
        data: labelled pictures, to count first what the model gets right of those to test on; accuracy.json has it all.
        shapes: shapes of inputs that the model leaves open, such as `image=1x3x224x224`.
        gates: conditions under which the model fails, such as `p50>1.05x`; `enforce` raises RequestError then.
        variation_limit: share of variation over which a run is unstable and its verdict withheld.
        seed: of the random inputs.
        latency_table: file to predict latency from; by default what `measure` kept.
        update_table: feed the measured layers back to the table.
        profile: TOML file of the model's profile, where it is none that ships; for the table.
        settings: values of the runtime's own options by name, such as `{"cuda_graph": False}`.
        folder: write bench.json and report.html there.
        keep: write them also where no folder is named: beside the model.
        progress: gets what is being done, and how many seconds are left by plan.

    Raises UserError for a file that is no model, RequestError for one that the runtime cannot execute.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = search("cpu-int8", "k1dwk1-mcu", resolution=32, folder=folder)
    ...     model = export(found.model, f"{folder}/model.onnx").model
    ...     measured = bench(model, seconds=0.02, warm_up=0, twins=False)
    >>> measured.result.profiled.layers[0].name, measured.result.summary.median < 1.0
    ('stem', True)
    """
    from contextlib import nullcontext

    from qedeploy.bench.benchmark import BenchOptions
    from qedeploy.bench.gates import parse_gate
    from qedeploy.bench.prediction.expected import TableOptions
    from qedeploy.bench.report.output import DOCUMENT, Bench, write_results
    from qedeploy.bench.source import ModelOrRecording, with_accuracy
    from qedeploy.files import writing
    from qedeploy.publishing import together
    from qedeploy.runtimes.inputs import parse_shapes
    from qedeploy.runtimes.runner import RunnerOptions
    from qedeploy.runtimes.timing import TimingProtocol

    options = BenchOptions(
        runner=RunnerOptions(
            threads=threads, batch=batch, seed=seed, shapes=parse_shapes(shapes), settings=settings or {}
        ),
        protocol=TimingProtocol(warm_up=warm_up, duration=seconds, iterations=iterations),
        twins=twins,
        against=as_path(against),
        runtime=runtime,
        gates=tuple(map(parse_gate, gates)),
        variation_limit=variation_limit,
        table=TableOptions(file=as_path(latency_table), profile=profile, update=update_table),
    )
    source = ModelOrRecording(model=as_path(model), recorded=recorded or {})
    target = source.folder(as_path(folder)) if keep or folder is not None else None
    with nullcontext() if target is None else writing(target / DOCUMENT):
        judged = None if data is None else source.accuracy(Path(data), options, progress or say_nothing)
        result = source.result(options, progress or say_nothing)
        with nullcontext() if target is None else together(target):
            if judged is not None:
                result = with_accuracy(result, judged, target)
            return Bench(result=result, written=None if target is None else write_results(result, target))


def bench_models(
    profile: str = "cpu-int8",
    *,
    threads: int = 1,
    seconds: float = 3.0,
    folder: Path | str | None = None,
    progress: Callable[[str], None] | None = None,
) -> PublishedBench:
    """Export the published models for a profile and time them here, beside structures searched under their budgets.

    Each is timed for at least so many `seconds`; a `folder` keeps what is exported.
    """
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from qedeploy.bench.published import bench_published
    from qedeploy.files import working_in
    from qedeploy.runtimes.runner import RunnerOptions
    from qedeploy.runtimes.timing import TimingProtocol

    with ExitStack() as stack:
        stack.enter_context(working_in(as_path(folder)))
        return bench_published(
            models(),
            as_path(folder) or Path(stack.enter_context(TemporaryDirectory())),
            profile_name=profile,
            protocol=TimingProtocol(duration=seconds),
            options=RunnerOptions(threads=threads),
            progress=progress or say_nothing,
        )


def measure(
    profile: str,
    recipe: str | None = None,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    minutes: float = 10.0,
    threads: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
    keep: bool = False,
    fresh: bool = False,
    cluster: str | None = None,
    progress: Callable[[CampaignStanding], None] | None = None,
) -> MeasuredTable:
    """Time the layers of a recipe's networks on this machine, or on a cluster's devices, and fit a latency table.

    `resolution` is the input size in pixels and `classes` their number, where they are not the recipe's. `out` is the
    JSON file to write the table to, `keep` writes it to the user's data where `search` and `bench` find it; with
    either, the same call again adds to it, unless `fresh`. Ctrl-C ends it with what was measured, and `interrupted`
    says so. Raises MissingRuntimeError without the profile's runtime, RequestError where nothing can be measured. See
    `correlate` for an example of how to call it.
    """
    from qedeploy.campaign.jobs import JobSettings
    from qedeploy.campaign.measure_table import measure_table
    from qedeploy.search.request import make_request

    return measure_table(
        make_request(profile, recipe, resolution=resolution, classes=classes),
        JobSettings(threads=threads),
        minutes=minutes,
        seed=seed,
        out=as_path(out),
        keep=keep,
        fresh=fresh,
        cluster=cluster,
        watch=progress or say_nothing,
    )


def lacks_table(
    profile: str, recipe: str | None = None, *, budgets: Mapping[str, float | str] | Iterable[str] | None = None
) -> bool:
    """Return whether a search under these limits predicts latency, and no table is kept for the profile yet.

    Raises UserError for names and limits that cannot be read.
    """
    from qedeploy.latency.store import load_model
    from qedeploy.profiles.loader import load_profile
    from qedeploy.search.costs.budgets.latency import LATENCY
    from qedeploy.search.request import limits_of
    from qedeploy.search.space.recipe_loader import load_recipe

    found = load_profile(profile)
    limited = LATENCY in limits_of(budgets or {}) or LATENCY in load_recipe(recipe or found.recipe).budgets
    return limited and load_model(found, None) is None


def correlate(
    profile: str,
    recipe: str | None = None,
    *,
    networks: int = 40,
    latency_table: Path | str | None = None,
    threads: int = 1,
    seed: int = 0,
    cluster: str | None = None,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> CorrelationStudy:
    """Draw networks from a recipe's space, measure them, and say which estimate predicted what they take.

    `folder` gets correlation.json, .svg and .csv; `keep` names one below runs/ where none is named. `progress` gets
    what is being done, how much of it is done, and how much there is. Raises Interrupted on Ctrl-C where the folder
    keeps what was measured: the same call goes on.

    A program that measures starts below a guard, since the process that measures imports it anew::

        from qedeploy import api

        if __name__ == "__main__":
            table = api.measure("cpu-int8", minutes=5, keep=True)
            print(api.correlate("cpu-int8", networks=20).result.agreements)
    """
    from qedeploy.campaign.correlation_study import Question, study
    from qedeploy.files import working_in

    table = as_path(latency_table)
    question = Question.of(profile, recipe, networks=networks, table=table, threads=threads, seed=seed, cluster=cluster)
    target = question.folder(as_path(folder)) if keep or folder is not None else None
    with working_in(target):
        return study(question, target, cluster=cluster, watch=progress or say_nothing)
