"""The export command's one function: checkpoint in, verified ONNX file out, or an error and nothing written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import Tensor

from qedeploy import __version__
from qedeploy.errors import RequestError, UserError
from qedeploy.export.checkpoint_reader import read_network, training_logits
from qedeploy.export.comparison import CHECKED_IMAGES, Comparison, DifferenceError, compare_with_pytorch, require_passed
from qedeploy.export.effects import Effect, measure_effects
from qedeploy.export.labelled import KeptAccuracy, accuracy_document, calibration_images, kept_accuracy
from qedeploy.files import replacing, sha256, write_json
from qedeploy.model.checkpoint import Checkpoint, load_checkpoint
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork
from qedeploy.network.graph import Graph, structure_graph
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.profiles.profile import Profile
from qedeploy.publishing import together
from qedeploy.qdq import simulation
from qedeploy.qdq.dialect import Dialect
from qedeploy.qdq.images import list_images, load_images, random_images
from qedeploy.qdq.lowered import LoweredNetwork
from qedeploy.qdq.lowering import lower
from qedeploy.qdq.metadata import ModelMetadata, to_properties
from qedeploy.qdq.one_thread import one_thread
from qedeploy.qdq.plan import Grid, LoweringPlan, StepSource
from qedeploy.qdq.writer import WrittenModel, write_model
from qedeploy.runtimes.execution import ExecutionCheck
from qedeploy.runtimes.products import Products
from qedeploy.runtimes.registry import dialect_for, find_runtime

REPORT_FORMAT = "qedeploy-export/1"
_FOLDER_IMAGES = 16
_RANDOM_IMAGES = 4
_FEW_IMAGES = 8
_FLAT = 1e-3
"""Standard deviation of a normalised image below which it shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What the user can choose. None: the checkpoint's own profile and normalisation, an open batch, random data.

    `images` None takes 16 of a folder, or 4 random ones, since more random images would say no more. `data` are
    labelled pictures: those to train on calibrate where `calibration` names no folder, those to test on say what the
    lowering costs.
    """

    profile: str | None = None
    calibration: Path | None = None
    data: Path | None = None
    images: int | None = None
    batch: int | None = None
    seed: int = 0
    normalisation: ImageSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A checkpoint lowered for a profile, with the images it was calibrated on and is verified on.

    `grids` are those of the first lowering, every one that training has a quantizer for.
    """

    checkpoint: Path
    profile: Profile
    trained: QuantizedNetwork
    network: LoweredNetwork
    grids: Mapping[str, Grid]
    dialect: Dialect
    images: Tensor
    prepared_as: ImageSettings | None
    source: StepSource
    settings: ExportSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """The written files, the decisions, and the measurements. `report` is the JSON beside the model.

    `exact` is the comparison of the same graph in float32, where the dialect writes a narrower type. `products` says
    how exactly this machine multiplies the file's integers, None where it does not run the file. Where it is not exact,
    `comparison` is of exact kernels and `session` of those that a user's own session has here.
    `accuracy` is None without labelled pictures. `execution` is the runtime's own kernels beside the plan, None where
    the comparison is of these.
    """

    model: Path
    report: Path
    plan: LoweringPlan
    comparison: Comparison
    exact: Comparison | None
    effects: tuple[Effect, ...]
    warnings: tuple[str, ...]
    seconds: float
    prepared: Prepared
    products: Products | None = None
    session: Comparison | None = None
    accuracy: KeptAccuracy | None = None
    execution: ExecutionCheck | None = None


def export_checkpoint(
    path: Path,
    *,
    out: Path | None = None,
    settings: ExportSettings = ExportSettings(),
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> ExportResult:
    """Export the checkpoint at `path` to ONNX, verified; by default to the same name with `.onnx`, beside it.

    `progress` is called with the step that is under way and the share that is done. Raises UserError for files
    that cannot be read or written, RequestError where the profile cannot carry the model, DifferenceError where the
    graph does not compute its plan. The model and its report `<name>.export.json` appear whole at
    the end, or not at all.
    """
    started = time.monotonic()
    checkpoint = load_checkpoint(path)
    profile = load_profile(settings.profile or checkpoint.profile)
    graph = structure_graph(checkpoint.structure)
    dialect = _dialect(profile, graph)
    target = out or path.with_suffix(".onnx")
    if target.suffix.lower() != ".onnx":
        raise UserError(
            f"--out {target}: expected a file that ends in .onnx, by which bench and other tools recognise it"
        )
    with together(target.parent), replacing(target) as temporary, one_thread():
        trained = read_network(checkpoint.network, path)
        images, source = _images(checkpoint, graph, settings)
        network = lower(
            trained,
            profile,
            dialect,
            images,
            source,
            progress=lambda done, total: progress("calibrating", done, total),
        )
        prepared = Prepared(
            checkpoint=path,
            profile=profile,
            trained=checkpoint.network,
            network=network,
            grids=network.plan.grids(),
            dialect=dialect,
            images=images,
            prepared_as=checkpoint.images,
            source=source,
            settings=settings,
        )
        progress("verifying", 0, 1)
        result = _publish(prepared, target, temporary, started, progress)
        progress("verifying", 1, 1)
    return result


def export_again(result: ExportResult, network: LoweredNetwork) -> ExportResult:
    """Write and verify `result` once more with another lowering of its network, in place of the first."""
    with together(result.model.parent), replacing(result.model) as temporary, one_thread():
        prepared = dataclasses.replace(result.prepared, network=network)
        return _publish(prepared, result.model, temporary, time.monotonic() - result.seconds)


def _publish(
    prepared: Prepared,
    target: Path,
    temporary: Path,
    started: float,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> ExportResult:
    """Write the graph to `temporary` and its report beside `target`, once it is proven."""
    plan, settings = prepared.network.plan, prepared.settings
    written = _write(prepared)
    content = written.model.SerializeToString()
    products = find_runtime(plan.runtime).products(content, plan.profile)
    comparison, exact, effects, session = _prove(prepared, written, products)
    execution = find_runtime(plan.runtime).execution(prepared.network, prepared.images[:CHECKED_IMAGES])
    _require_executed(execution, products)
    accuracy = None
    if settings.data is not None:
        accuracy = kept_accuracy(
            prepared.checkpoint,
            prepared.trained,
            prepared.grids,
            content,
            settings.data,
            settings.normalisation or prepared.prepared_as or ImageSettings(),
            lambda done, total: progress("counting", done, total),
        )
    temporary.write_bytes(content)
    result = ExportResult(
        model=target,
        report=target.with_suffix(".export.json"),
        plan=plan,
        comparison=comparison,
        exact=exact,
        effects=effects,
        warnings=(
            *_image_warnings(prepared),
            *_warnings(plan, settings, prepared.source),
            *_products_warnings(products, session),
            *_execution_warnings(execution),
        ),
        seconds=time.monotonic() - started,
        prepared=prepared,
        products=products,
        session=session,
        accuracy=accuracy,
        execution=execution,
    )
    write_json(result.report, _report_document(result, prepared.checkpoint, temporary))
    return result


def _dialect(profile: Profile, graph: Graph) -> Dialect:
    try:
        profile.require_runtime()
        for layer in graph.layers:
            profile.lower(layer)
    except RequestError as error:
        raise RequestError(f"{error}; {_alternatives(graph)}") from error
    return dialect_for(profile.runtime, profile.dialect)


def _alternatives(graph: Graph) -> str:
    carrying = []
    for name in profile_names():
        profile = load_profile(name)
        if profile.search_only:
            continue
        if all(profile.precision(layer.category, layer.bits) is not None for layer in graph.layers):
            carrying.append(name)
    if not carrying:
        return "no shipped profile that can be exported to runs all its layers"
    return f"export with --profile {' or '.join(carrying)}"


def _images(checkpoint: Checkpoint, graph: Graph, settings: ExportSettings) -> tuple[Tensor, StepSource]:
    count = settings.images or _FOLDER_IMAGES
    wanted = settings.normalisation or checkpoint.images or ImageSettings()
    if settings.calibration is None and settings.data is not None:
        return calibration_images(checkpoint.structure, settings.data, count, wanted), StepSource.IMAGES
    if settings.calibration is not None:
        return load_images(settings.calibration, graph.input, count, wanted), StepSource.IMAGES
    return random_images(graph.input, settings.images or _RANDOM_IMAGES, settings.seed), StepSource.RANDOM


def _write(prepared: Prepared) -> WrittenModel:
    network = prepared.network
    metadata = ModelMetadata(
        graph=network.graph, profile=network.plan.profile, plan=network.plan, images=prepared.prepared_as
    )
    written = write_model(network, prepared.dialect, batch=prepared.settings.batch, metadata=to_properties(metadata))
    try:
        onnx.checker.check_model(written.model, full_check=True)
        onnx.shape_inference.infer_shapes(written.model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise DifferenceError(f"the ONNX checker rejects the graph: {reason}; nothing was written") from error
    return written


def _prove(
    prepared: Prepared, written: WrittenModel, products: Products | None
) -> tuple[Comparison, Comparison | None, tuple[Effect, ...], Comparison | None]:
    network, images = prepared.network, prepared.images
    expected = simulation.logits(network, images)
    exact_form, exact = prepared.dialect.exact_form(), None
    if exact_form is not None:
        exact = _compared(network, write_model(network, exact_form), exact_form, images, expected)
        require_passed(exact)
    here = products is not None
    saturating = products is not None and bool(products.inexact)
    comparison = _compared(network, written, prepared.dialect, images, expected, exact=saturating or not here)
    require_passed(comparison)
    session = _compared(network, written, prepared.dialect, images, expected, exact=False) if saturating else None
    sample = images[:CHECKED_IMAGES]
    trained_logits = training_logits(prepared.trained, prepared.grids, sample)
    return (
        comparison,
        exact,
        measure_effects(
            network,
            sample,
            trained_logits,
            expected[:CHECKED_IMAGES],
            device_grids=prepared.trained.device_points is not None,
        ),
        session,
    )


def _compared(
    network: LoweredNetwork,
    written: WrittenModel,
    dialect: Dialect,
    images: Tensor,
    expected: Tensor,
    *,
    exact: bool = True,
) -> Comparison:
    return compare_with_pytorch(
        network,
        written,
        images,
        expected,
        float_tolerance=dialect.float_tolerance,
        rounding=dialect.rounding,
        exact=exact,
    )


def _require_executed(execution: ExecutionCheck | None, products: Products | None) -> None:
    """Raise DifferenceError where a runtime's kernels do not compute the plan, and the CPU is not known to saturate."""
    if execution is None or execution.passed or (products is not None and products.inexact):
        return
    raise DifferenceError(
        f"{execution.worst or 'a floating-point value'}: {execution}; nothing was written: please report this"
    )


def _execution_warnings(execution: ExecutionCheck | None) -> tuple[str, ...]:
    if execution is None or execution.passed:
        return ()
    return (f"this CPU's kernels do not compute what the file says: {execution}",)


def _products_warnings(products: Products | None, session: Comparison | None) -> tuple[str, ...]:
    if products is None:
        return ()
    if session is None:
        return (products.advice,) if products.advice else ()
    largest = max((check.largest for check in session.checks if check.quantized), default=0.0)
    told = (
        f"{products.doubt} The file is verified with exact kernels; in a session of your own on this machine "
        f"{session.differing} of {session.values:,} integers differ, by {largest:g} steps at most; the class is the "
        f"same on {round(session.top1_agreement * session.images)} of {session.images} images. {products.advice}"
    )
    return (told.strip(),)


def _image_warnings(prepared: Prepared) -> list[str]:
    """Return warnings about a folder of images that is poor for calibration, or seen otherwise than in training."""
    images, settings = prepared.images, prepared.settings
    folder = settings.calibration or settings.data
    if folder is None:
        return []
    skipped, count = list_images(folder).skipped() if settings.calibration else "", images.shape[0]
    warnings = [f"{folder}: {skipped}"] if skipped else []
    if settings.images is not None and count < settings.images:
        warnings.append(f"{folder} holds {count} images of the {settings.images} asked for: all are used")
    elif count < _FEW_IMAGES:
        warnings.append(f"{count} calibration images are few: the steps depend on what happens to be on them")
    if settings.data is not None and prepared.prepared_as is None and settings.normalisation is None:
        warnings.append(
            f"{prepared.checkpoint.name} does not say how pictures were prepared in training: ImageNet's mean, "
            "deviation and crop are assumed; give others with --mean and --deviation"
        )
    flat = int((images.flatten(2).std(dim=2).amax(dim=1) < _FLAT).sum())
    if flat:
        warnings.append(f"{flat} of {count} calibration images have a single colour: they say nothing about steps")
    return warnings


def _warnings(plan: LoweringPlan, settings: ExportSettings, source: StepSource) -> tuple[str, ...]:
    warnings = []
    untrained = [value.name for value in plan.values if value.reader is not None and value.source is source]
    extra = sum(point.source is source for point in plan.points)
    mend = "give images with --calibrate DIR"
    if source is StepSource.RANDOM and untrained:
        warnings.append(
            f"{len(untrained)} activation steps were never trained and are calibrated on random data: the file shows "
            f"speed, its accuracy means nothing; train first, or {mend}"
        )
    elif source is StepSource.RANDOM and extra:
        warnings.append(f"the steps of {extra} extra quantization points are calibrated on random data; {mend}")
    clipped = sum(layer.clipped_weights for layer in plan.layers)
    if clipped:
        warnings.append(f"{clipped} weights at the lowest integer changed by one step, their sign turned by folding")
    rescaled = sum(layer.rescaled_channels for layer in plan.layers)
    if rescaled:
        warnings.append(f"{rescaled} channels have coarser weights, so that their bias fits 32 bits")
    return tuple(warnings)


def _report_document(result: ExportResult, checkpoint: Path, model: Path) -> dict[str, object]:
    return {
        "format": REPORT_FORMAT,
        "qedeploy": __version__,
        "model": {"file": result.model.name, "sha256": sha256(model)},
        "checkpoint": {"file": checkpoint.name, "sha256": sha256(checkpoint)},
        "profile": result.plan.profile,
        "verification": dataclasses.asdict(result.comparison),
        "float32_form": None if result.exact is None else dataclasses.asdict(result.exact),
        "products": None if result.products is None else dataclasses.asdict(result.products),
        "execution": None if result.execution is None else dataclasses.asdict(result.execution),
        "session": None if result.session is None else dataclasses.asdict(result.session),
        "accuracy": None if result.accuracy is None else accuracy_document(result.accuracy),
        "effects": [dataclasses.asdict(effect) for effect in result.effects],
        "warnings": list(result.warnings),
        "seconds": round(result.seconds, 3),
    }
