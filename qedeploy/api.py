"""All that the commands do, as functions: they return values, and write files only where a folder or file is named.

    >>> from qedeploy import api
    >>> found = api.search("cpu-int8", budgets={"bitops": "7G"})
    >>> print(f"{found.score:.2f}, {found.certificate.status}")
    1178.45, optimal

Every function raises `qedeploy.errors.UserError` for input that cannot be used, with one line that says what was
expected; RequestError, one of its kinds, for what cannot be met; MissingRuntimeError for what is not installed.
Whoever wants to see how far a function is hands it a `progress`, `print` for one. Importing this module imports no
framework: each function imports what it needs.

A program (other than a notebook) that measures, or searches with several `workers`, must start them below
`if __name__ == "__main__":`, since each of those processes imports the program anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from qedeploy.bench.measure.machine import Machine
    from qedeploy.bench.measure.stage import Stage
    from qedeploy.bench.published import PublishedBench
    from qedeploy.bench.report.output import Bench
    from qedeploy.campaign.accuracy.question import AccuracyCorrelation
    from qedeploy.campaign.correlation_study import Correlation
    from qedeploy.campaign.measure_table import MeasuredTable
    from qedeploy.campaign.planner import Standing
    from qedeploy.campaign.quantization.run import FinishedQuantization
    from qedeploy.export.compile import BuildOutcome
    from qedeploy.export.exporter import ExportResult
    from qedeploy.model.image_settings import ImageSettings
    from qedeploy.model.network import QuantizedNetwork
    from qedeploy.network.published import PublishedModel
    from qedeploy.network.structure import Structure
    from qedeploy.profiles.profile import Profile
    from qedeploy.runtimes.findings import Finding
    from qedeploy.search.audit.checks import Check
    from qedeploy.search.exact.pareto import Front
    from qedeploy.search.run import FinishedSearch
    from qedeploy.search.score.kinds.qe_score import QeScore
    from qedeploy.search.score.report import ScoreReport
    from qedeploy.train.data import LabelledData
    from qedeploy.train.evaluate import Evaluation
    from qedeploy.train.execution import Progress
    from qedeploy.train.recipe import Recipe
    from qedeploy.train.training import TrainResult

FRONT_POINTS = 24
"""Points of a front, its ends among them, unless told otherwise."""


def profiles() -> tuple[Profile, ...]:
    """Return the device profiles that ship with qedeploy, by name.

    >>> [profile.name for profile in profiles()][:4]
    ['a10-int8', 'a100-int8', 'any-bits', 'cpu-int8']
    """
    from qedeploy.profiles.loader import load_profile, profile_names

    return tuple(map(load_profile, profile_names()))


def profile(name: str) -> Profile:
    """Return one profile, by its name or the path of a TOML file.

    >>> print(profile("cpu-int8").recipe)
    k1dwk1-224
    """
    from qedeploy.profiles.loader import load_profile

    return load_profile(name)


def latency_tables(profile: str) -> list[dict[str, Any]]:
    """Return what `measure` kept in the user's data for the profile of this name, the table that is taken first.

    Each is JSON-ready: its file, and device, date, points, networks and error, or the fault of a broken one.
    """
    from qedeploy.latency.store import describe_kept

    return describe_kept(profile)


def models() -> tuple[PublishedModel, ...]:
    """Return the published models, with the figures that were printed.

    >>> [(model.name, model.bitops_giga) for model in models()][-1]
    ('Mixed7d0G', '6.9')
    """
    from qedeploy.network.published import published_models

    return published_models()


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
        progress: gets `Bounds` from the exact search, `Progress` from evolution; both say in words where it is.

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
        from qedeploy.search.run import Target, run_evolution, run_exact

        latency = against is not None and front_budget(against) == LATENCY
        limits, table = limits_of(budgets or {}), _path(latency_table)
        request = make_request(profile, recipe, limits, resolution, table, classes=classes, need_latency=latency)
        if runnable:
            request.profile.require_runtime()
        write_model = model_writing(seed, writer) if wanted else None
        target = Target(folder=_path(folder), keep=keep, write_model=write_model, lightnas=lightnas)
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
    from qedeploy.search.exact.front_files import write_front
    from qedeploy.search.exact.pareto import front as find_front
    from qedeploy.search.exact.search import front_budget

    request, kind = found.request, front_budget(against)
    line = find_front(request.space, request.budgets, kind, points=points, workers=workers, cluster=cluster)
    if folder is not None:
        write_front(Path(folder), line, request)
    return line


def verify(path: Path | str, *, profile: str | None = None) -> list[Check]:
    """Return every check of a finished search, recomputed by a second route: score, costs, bound, hashes.

    `path` is a search.json or the folder of one, whose other files are checked too; `profile` is the device's TOML
    file where it is none that ships. A check `holds`, does not (False), or could not be settled (None).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = search("cpu-int8", "k1dwk1-mcu", folder=folder, model=False)
    ...     checks = verify(folder)
    >>> all(check.holds for check in checks)
    True
    """
    from qedeploy.search.audit.verification import verify as checks_of

    return checks_of(Path(path), _structure_of, profile=profile)


def build(
    model: Structure | str,
    *,
    profile: str = "cpu-int8",
    classes: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
) -> QuantizedNetwork:
    """Return a PyTorch network of a structure, or of the published model of a name, with initialised weights.

    `classes` and `resolution` (pixels) replace its own; `out` is a file such as model.pth to write it to. Raises
    RequestError naming the layer where the profile lacks its bits.

    >>> network = build("Mixed7d0G", classes=10, resolution=32)
    >>> network.structure.classifier.classes
    10
    """
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.model.importing import build_for
    from qedeploy.network.published import find_published
    from qedeploy.profiles.loader import load_profile

    record = {}
    if isinstance(model, str):
        found = find_published(model)
        model, record = found.structure, {"published": found.name}
    network = build_for(model, load_profile(profile), classes=classes, resolution=resolution, seed=seed)
    if out is not None:
        save_checkpoint(Path(out), network, profile=profile, recipe=record)
    return network


def import_model(
    structure: Path | str,
    checkpoint: Path | str | None = None,
    *,
    profile: str = "cpu-int8",
    resolution: int | None = None,
    classes: int | None = None,
    seed: int = 0,
    weights: Literal["auto", "last", "ema"] = "auto",
    out: Path | str | None = None,
    say: Callable[[str], None] | None = None,
) -> QuantizedNetwork:
    """Return the PyTorch network of a structure file, with the weights of a LightNAS checkpoint where one is named.

    Without one the weights are initialised by `seed`. `resolution` (pixels) and `classes` replace what the files say;
    `weights` takes a checkpoint's last ones or their average, and `say` gets sentences on which they were; `out` is a
    file such as model.pth to write the network to.
    """
    from qedeploy.errors import UserError
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.model.foreign_state import Weights
    from qedeploy.model.importing import import_model as read_model
    from qedeploy.model.importing import import_record
    from qedeploy.profiles.loader import load_profile

    structure, checkpoint, out = Path(structure), _path(checkpoint), _path(out)
    if out is not None and out.resolve() in {file.resolve() for file in (structure, checkpoint) if file is not None}:
        raise UserError(f"{out}: is a file to read; choose another --out")
    device = load_profile(profile)
    network = read_model(
        structure,
        checkpoint,
        profile=device,
        resolution=resolution,
        classes=classes,
        seed=seed,
        weights=Weights(weights),
        say=say or _say_nothing,
    )
    if out is not None:
        save_checkpoint(out, network, profile=profile, recipe=import_record(structure, checkpoint))
    return network


def measure(
    profile: str,
    recipe: str | None = None,
    *,
    minutes: float = 10.0,
    threads: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
    keep: bool = False,
    fresh: bool = False,
    cluster: str | None = None,
    progress: Callable[[Standing], None] | None = None,
) -> MeasuredTable:
    """Time the layers of a recipe's networks on this machine, or on a cluster's devices, and fit a latency table.

    `out` is the JSON file to write the table to, `keep` writes it to the user's data where `search` and `bench` find
    it; with either, the same call again adds to it, unless `fresh`. Ctrl-C ends it with what was measured, and
    `interrupted` says so. Raises MissingRuntimeError without the profile's runtime, RequestError where nothing can be
    measured. See `correlate` for an example of how to call it.
    """
    from qedeploy.campaign.jobs import JobSettings
    from qedeploy.campaign.measure_table import measure_table
    from qedeploy.search.request import make_request

    return measure_table(
        make_request(profile, recipe),
        JobSettings(threads=threads),
        minutes=minutes,
        seed=seed,
        out=_path(out),
        keep=keep,
        fresh=fresh,
        cluster=cluster,
        watch=progress or _say_nothing,
    )


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
) -> Correlation:
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

    table = _path(latency_table)
    question = Question.of(profile, recipe, networks=networks, table=table, threads=threads, seed=seed, cluster=cluster)
    target = question.folder(_path(folder)) if keep or folder is not None else None
    return study(question, target, cluster=cluster, watch=progress or _say_nothing)


def correlate_accuracy(
    profile: str,
    data: Path | str,
    recipe: str | None = None,
    *,
    budgets: Mapping[str, float | str] | Iterable[str] | None = None,
    arms: Iterable[str] = (),
    networks: int = 24,
    epochs: float = 10.0,
    float_epochs: float | None = None,
    seeds: int = 2,
    training: Recipe | str | None = None,
    flip: bool = True,
    resolution: int | None = None,
    latency_table: Path | str | None = None,
    threads: int = 1,
    workers: int = 1,
    seed: int = 0,
    cluster: str | None = None,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> AccuracyCorrelation:
    """Draw networks of one budget, train them alike on the labelled pictures `data`, and say what orders accuracy.

    The first of `budgets` is what all networks use up; without one it is the recipe's of operations. `arms` are
    `widths-fixed`, `shapes-fixed` and `free`, the first two by default where widths differ; each has so many
    `networks`, spread evenly over the score. Each is trained with so many `seeds`: `float_epochs` (as many as `epochs`)
    in float and then `epochs` with quantizers, otherwise by the `training` recipe; without `flip` no picture is
    mirrored. So many `workers` train at a time, each on so many `threads`, or the devices of `cluster` do, which find
    `data` under the same name.

    `folder` gets correlation.json, .svg and .csv and all that was trained; `keep` names one below runs/ where none is
    named. The same call goes on where one was killed or stopped (Interrupted on Ctrl-C), and what is done is not done
    again. A program that trains with `workers` starts below a guard, as one that measures; 0 train in this process.
    """
    from qedeploy.campaign.accuracy.question import AccuracyQuestion, training_recipe
    from qedeploy.campaign.accuracy.study import study

    question = AccuracyQuestion.of(
        profile,
        recipe,
        Path(data),
        budgets=budgets or {},
        arms=arms,
        networks=networks,
        seeds=seeds,
        training=training_recipe(training, epochs, epochs if float_epochs is None else float_epochs, flip=flip),
        resolution=resolution,
        latency_table=_path(latency_table),
        threads=threads,
        seed=seed,
    )
    target = question.folder(_path(folder)) if keep or folder is not None else None
    return study(question, target, workers=workers, cluster=cluster, watch=progress or _say_nothing)


def quantize(
    model: Path | str,
    data: Path | str,
    *,
    profile: str = "cpu-int8",
    shapes: Iterable[str] = (),
    budgets: Iterable[str] = (),
    calibration: str = "mse",
    samples: int = 16,
    fixed: Iterable[str] = (),
    kept: Iterable[str] = (),
    metric: str | None = None,
    max_drop: float = 0.0,
    pareto: bool = False,
    mean: str | None = None,
    deviation: str | None = None,
    duration: str = "300ms",
    threads: int = 1,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> FinishedQuantization:
    """Return any trained float ONNX network in the fastest form that keeps its outputs on `data`.

    `data` is a folder of images, or of .npy and .npz arrays of the inputs, or one such file. `shapes` are sizes
    that the file leaves open ("x=1x3x48x320"), `budgets` limits ("latency=0.8x", "error=0.02", "size=2MB"), `fixed`
    layers with their precision ("conv1=float32"), `kept` expressions of layers that stay in float32. `mean` and
    `deviation` are those of images ("0.5,0.5,0.5"). `metric` ("top1" by class folders, or "module:function") may
    fall by `max_drop` on the data, and decides where no error is limited. `duration` is how long each trial runs at
    least. `pareto` adds the front of error against time. `folder` gets model.onnx, sensitivity.json and
    assignment.json; `keep` names one below runs/ where none is named. `progress` gets what is being done, how much
    of it is, and how much there is.

    Raises RequestError where the budgets cannot be met.
    """
    from qedeploy.campaign.quantization.metric import find_metric
    from qedeploy.campaign.quantization.request import QuantizationOptions, parse_budgets, parse_fixed
    from qedeploy.campaign.quantization.run import QuantizationRequest, run_quantization
    from qedeploy.export.onnx_networks.methods import Method
    from qedeploy.model.image_settings import ImageSettings
    from qedeploy.qdq.images import parse_normalisation
    from qedeploy.search.result import run_folder
    from qedeploy.units import parse_seconds

    options = QuantizationOptions(
        budgets=parse_budgets(list(budgets)),
        method=Method(calibration),
        fixed=parse_fixed(list(fixed)),
        kept=tuple(kept),
        metric=None if metric is None else find_metric(metric),
        max_drop=max_drop,
        samples=samples,
        duration=parse_seconds(duration, "--duration"),
        threads=threads,
    )
    request = QuantizationRequest(
        model=Path(model),
        profile=profile,
        data=Path(data),
        shapes=tuple(shapes),
        settings=parse_normalisation(mean, deviation) or ImageSettings(),
        options=options,
        pareto=pareto,
    )
    target = _path(folder)
    if target is None and keep:
        settings = {"options": [*map(str, (budgets, calibration, fixed, kept, metric))], "data": str(data)}
        target = run_folder(f"{Path(model).stem}-{profile}", settings, None)
    return run_quantization(request, target, progress or _say_nothing)


def labelled_data(data: Path | str) -> LabelledData:
    """Return the labelled pictures of a folder or file: those to train on, and those set apart to test on, if any."""
    from qedeploy.train.data import open_data

    return open_data(Path(data))


def train(
    model: Path | str,
    data: Path | str,
    folder: Path | str,
    *,
    recipe: Recipe | str | None = None,
    profile: str | None = None,
    weights_from: Path | str | None = None,
    distill: str | None = None,
    workers: int | None = None,
    checkpoint_every: float = 600.0,
    strict: bool = False,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train the checkpoint at `model` on the labelled pictures of `data`, and write model.pth and logs into `folder`.

    `recipe` is a training recipe, its name or a TOML file; by default one by the number of pictures. `profile` trains
    for another device, `weights_from` begins with the weights of a checkpoint, `distill` imitates one, or the network
    in float for the word `float`. Pictures that cannot be read are left out and counted, or an error with `strict`. A
    training that was interrupted in `folder` goes on to the same weights; it saves itself every `checkpoint_every`
    seconds.
    """
    from qedeploy.train.data import open_data
    from qedeploy.train.recipe import choose_recipe
    from qedeploy.train.training import TrainOptions
    from qedeploy.train.training import train as train_model

    if recipe is None or isinstance(recipe, str):
        recipe = choose_recipe(recipe, lambda: len(open_data(Path(data)).train.labels))
    options = TrainOptions(
        recipe=recipe,
        profile=profile,
        weights_from=_path(weights_from),
        distill=distill,
        seed=seed,
        workers=workers,
        checkpoint_every=checkpoint_every,
        strict=strict,
    )
    return train_model(Path(model), Path(data), options, Path(folder), progress or _say_nothing)


def evaluate(
    model: Path | str,
    data: Path | str,
    *,
    against: Path | str | None = None,
    fail_if: Iterable[str] = (),
    images: int | None = None,
    threads: int = 1,
    folder: Path | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Return what a checkpoint or an exported file gets right of the labelled pictures of `data`, by its own runtime.

    `against` is another model, compared on the same pictures; `fail_if` are gates such as `top1<70%`, whose verdicts
    the result has. So many `images` are taken, all by default. Writes accuracy.json and accuracy.html into `folder`.
    """
    from qedeploy.train.accuracy_report import write_evaluation
    from qedeploy.train.evaluate import EvaluateOptions
    from qedeploy.train.evaluate import evaluate as evaluate_model
    from qedeploy.train.gates import parse_gate

    found = evaluate_model(
        Path(model),
        Path(data),
        EvaluateOptions(images=images, threads=threads),
        against=_path(against),
        gates=tuple(map(parse_gate, fail_if)),
        progress=progress or _say_nothing,
    )
    if folder is not None:
        write_evaluation(found, Path(folder))
    return found


def export(
    checkpoint: Path | str,
    out: Path | str,
    *,
    profile: str | None = None,
    calibration: Path | str | None = None,
    data: Path | str | None = None,
    images: int | None = None,
    batch: int | None = None,
    normalisation: ImageSettings | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> ExportResult:
    """Write a checkpoint as a QDQ graph for a profile's runtime to the .onnx file `out`, verified against PyTorch.

    The profile is by default the checkpoint's own. `calibration` is a folder of images for steps that were not trained
    (random data without one), of which so many `images` are taken; of labelled pictures, `data`, those to train on do
    the same, and those to test on count what is right before and after, `accuracy`. `normalisation` is by default the
    training's; `batch` fixes the batch size. `progress` gets what is being done, how much of it is done, and how much
    there is. Raises DifferenceError, and writes nothing, where the runtime's integers are not PyTorch's; RequestError
    where the profile cannot carry the network.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = search("cpu-int8", "k1dwk1-mcu", resolution=32, folder=folder)
    ...     exported = export(found.model, f"{folder}/model.onnx")
    >>> exported.comparison.differing / exported.comparison.values < 0.01
    True
    """
    from qedeploy.export.exporter import ExportSettings, export_checkpoint

    settings = ExportSettings(
        profile=profile,
        calibration=_path(calibration),
        data=_path(data),
        images=images,
        batch=batch,
        seed=seed,
        normalisation=normalisation,
    )
    return export_checkpoint(Path(checkpoint), out=Path(out), settings=settings, progress=progress or _say_nothing)


def build_artefact(
    exported: ExportResult,
    choice: Literal["auto", "required", "never"] = "auto",
    *,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> BuildOutcome:
    """Build what the runtime of an export runs, such as engine.plan, beside its ONNX file; `path` is what to run.

    With `auto` it is built where the runtime and its device are, and `reason` says why it was not. `settings` are
    values of the runtime's own options by name, such as `{"optimization_level": 5}`; `progress` gets the build's
    events. Raises RequestError where it cannot be built, MissingRuntimeError where it is required and the runtime is
    missing.
    """
    from qedeploy.export.compile import BuildChoice
    from qedeploy.export.compile import build_artefact as build_it

    return build_it(exported, BuildChoice(choice), settings or {}, on_event=progress or _say_nothing)


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
    progress: Callable[[Stage], None] | None = None,
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
    from qedeploy.bench.benchmark import BenchOptions
    from qedeploy.bench.gates import parse_gate
    from qedeploy.bench.prediction.expected import TableOptions
    from qedeploy.bench.report.output import Bench, write_results
    from qedeploy.bench.source import ModelOrRecording, with_accuracy
    from qedeploy.runtimes.inputs import parse_shapes
    from qedeploy.runtimes.runner import RunnerOptions
    from qedeploy.runtimes.timing import TimingProtocol

    options = BenchOptions(
        runner=RunnerOptions(
            threads=threads, batch=batch, seed=seed, shapes=parse_shapes(shapes), settings=settings or {}
        ),
        protocol=TimingProtocol(warm_up=warm_up, duration=seconds, iterations=iterations),
        twins=twins,
        against=_path(against),
        gates=tuple(map(parse_gate, gates)),
        variation_limit=variation_limit,
        table=TableOptions(file=_path(latency_table), profile=profile, update=update_table),
    )
    source = ModelOrRecording(model=_path(model), recorded=recorded or {})
    target = source.folder(_path(folder)) if keep or folder is not None else None
    judged = None if data is None else source.accuracy(Path(data), options, progress or _say_nothing)
    result = source.result(options, progress or _say_nothing)
    if judged is not None:
        result = with_accuracy(result, judged, target)
    return Bench(result=result, written=None if target is None else write_results(result, target))


def machine() -> Machine:
    """Return this machine: system, CPU, cores, memory.

    >>> machine().usable_cores >= 1
    True
    """
    from qedeploy.bench.measure.machine import describe_machine

    return describe_machine()


def doctor(of: Machine | None = None) -> tuple[Finding, ...]:
    """Return which runtimes and devices this machine has, and what to install for the rest.

    >>> [finding.status.value for finding in doctor() if finding.name == "ONNX"]
    ['ready']
    """
    from qedeploy.bench.doctor import diagnose

    return diagnose(of)


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
    from qedeploy.runtimes.runner import RunnerOptions
    from qedeploy.runtimes.timing import TimingProtocol

    with ExitStack() as stack:
        return bench_published(
            models(),
            _path(folder) or Path(stack.enter_context(TemporaryDirectory())),
            profile_name=profile,
            protocol=TimingProtocol(duration=seconds),
            options=RunnerOptions(threads=threads),
            progress=progress or _say_nothing,
        )


def _structure_of(model: Path) -> Structure:
    from qedeploy.model.checkpoint import load_checkpoint

    return load_checkpoint(model).structure


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _say_nothing(*_progress: object) -> None:
    pass
