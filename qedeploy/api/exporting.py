"""From a checkpoint, or any float ONNX file, to the verified file of a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from qedeploy.api.arguments import as_path, say_nothing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qedeploy.campaign.quantization.run import FinishedQuantization
    from qedeploy.campaign.typed_quantization.run import FinishedTypedQuantization
    from qedeploy.campaign.widths.assignment import FinishedWidths
    from qedeploy.export.compile import BuildOutcome
    from qedeploy.export.exporter import ExportResult
    from qedeploy.export.onnx_networks.data import InMemory
    from qedeploy.model.image_settings import ImageSettings

_Result = TypeVar("_Result")


def quantize(
    model: Path | str | nn.Module,
    data: Path | str | Tensor | Iterable[Any],
    *,
    example: Tensor | Sequence[Tensor] | None = None,
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
) -> FinishedQuantization | FinishedTypedQuantization:
    """Return any trained float ONNX network in the fastest form that keeps its outputs on `data`.

    Where the profile's runtime runs here, times are measured; for GPUs, which need not be here, the fewest executed
    BitOps stand for the least time: float16, W8A8 and where the profile has it W4A16, as a verified QDQ file.

    `model` is an ONNX file, or any PyTorch module, exported as it computes in evaluation mode with `example`, a tensor
    or one for each input. `data` is a folder of images, or of .npy and .npz arrays of the inputs, or one such file; of
    a module also tensors, or what yields tensors, such as a DataLoader (labels behind the inputs are left out), the
    first of which is the example where none is given. `shapes` are sizes that the file leaves open ("x=1x3x48x320"),
    `budgets` limits ("latency=0.8x", "error=0.02", "size=2MB"), `fixed` layers with their precision ("conv1=float32"),
    `kept` expressions of layers that stay in float32. `mean` and `deviation` are those of images ("0.5,0.5,0.5").
    `metric` ("top1" by class folders, or "module:function") may fall by `max_drop` on the data, and decides where no
    error is limited. `duration` is how long each trial runs at least. `pareto` adds the front of error against time.
    `folder` gets model.onnx, sensitivity.json and assignment.json; `keep` names one below runs/ where none is named.
    `progress` gets what is being done, how much of it is, and how much there is.

    Raises RequestError where the budgets cannot be met.

    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 8, 1))
    >>> result = quantize(network, torch.randn(1, 3, 16, 16), profile="rtx-40", budgets=["error=0.1"])
    >>> sorted(result.found.precisions.values())
    ['W8A8', 'W8A8']
    """
    from qedeploy.campaign.quantization.metric import find_metric
    from qedeploy.campaign.quantization.request import QuantizationOptions, parse_budgets, parse_fixed
    from qedeploy.campaign.quantization.run import QuantizationRequest
    from qedeploy.campaign.quantize import quantize_file
    from qedeploy.errors import UserError
    from qedeploy.export.onnx_networks.methods import CalibrationMethod
    from qedeploy.files import working_in
    from qedeploy.model.image_settings import ImageSettings
    from qedeploy.qdq.images import parse_normalisation
    from qedeploy.search.result import run_folder
    from qedeploy.units import parse_seconds

    options = QuantizationOptions(
        budgets=parse_budgets(list(budgets)),
        method=CalibrationMethod(calibration),
        fixed=parse_fixed(list(fixed)),
        kept=tuple(kept),
        metric=None if metric is None else find_metric(metric),
        max_drop=max_drop,
        samples=samples,
        duration=parse_seconds(duration, "--duration"),
        threads=threads,
    )
    target = as_path(folder)
    if target is None and keep:
        stem = Path(model).stem if isinstance(model, Path | str) else type(model).__name__.lower()
        settings = {"options": [*map(str, (budgets, calibration, fixed, kept, metric))], "data": str(data)}
        target = run_folder(f"{stem}-{profile}", settings, None)

    def ask(file: Path, samples: Path | InMemory) -> FinishedQuantization | FinishedTypedQuantization:
        request = QuantizationRequest(
            model=file,
            profile=profile,
            data=samples,
            shapes=tuple(shapes),
            settings=parse_normalisation(mean, deviation) or ImageSettings(),
            options=options,
            pareto=pareto,
        )
        with working_in(target):
            return quantize_file(request, target, progress or say_nothing)

    if isinstance(model, Path | str):
        if not isinstance(data, Path | str) or example is not None:
            raise UserError(f"{model}: expected a path in data and no example for a file: those are for a module")
        return ask(Path(model), Path(data))
    return _with_module(model, data, example, samples, ask)


def _with_module(
    module: nn.Module,
    data: Path | str | Tensor | Iterable[Any],
    example: Tensor | Sequence[Tensor] | None,
    limit: int,
    ask: Callable[[Path, Path | InMemory], _Result],
) -> _Result:
    """Return what `ask` returns of the ONNX file of a module, and of its data."""
    import tempfile

    from torch import nn

    from qedeploy.errors import UserError
    from qedeploy.export.torch_modules import export_module, first_of, inputs_of, tensor_samples

    if not isinstance(module, nn.Module):
        raise UserError(f"model: expected a path or a PyTorch module, found a {type(module).__name__}")
    found: Path | InMemory
    if isinstance(data, Path | str):
        if example is None:
            raise UserError(f"example: expected a tensor that {type(module).__name__} takes, beside data in {data}")
        inputs, found = inputs_of(example), Path(data)
    else:
        first, items = first_of(data)
        inputs = inputs_of(first if example is None else example)
        found = tensor_samples(items, inputs, limit)
    with tempfile.TemporaryDirectory(prefix="qedeploy-module-") as place:
        return ask(export_module(module, inputs, Path(place) / f"{type(module).__name__.lower()}.onnx"), found)


def assign_widths(
    checkpoint: Path | str,
    data: Path | str,
    *,
    profile: str | None = None,
    budgets: Iterable[str] = (),
    max_drop: float | None = None,
    samples: int = 128,
    fixed: Iterable[str] = (),
    kept: Iterable[str] = (),
    normalisation: ImageSettings | None = None,
    latency_table: Path | str | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> FinishedWidths:
    """Return the trained network of a checkpoint with other widths in its layers, to be trained on or exported.

    `data` are pictures as `train` takes them, or a folder of pictures without labels; `samples` of them tell what
    each width of each layer costs in loss. `budgets` limit "size=300KB", "bitops=0.5x" (of what it costs now),
    "executed-bitops", "latency" (predicted by `latency_table` or the table kept for the profile) or "error" (nats);
    within them the loss is made least. `max_drop` is what top-1 may lose in per cent, counted without training; where
    nothing else is limited, the BitOps are made least within it, or the bytes where all widths cost the same BitOps.
    The widths are those that the profile (by default the checkpoint's) gains from, or where that is one pair for each
    layer all that it runs. `fixed` gives layers a pair ("stem=W8A8"), `kept` are expressions of layers that keep
    theirs. `folder` gets model.pth, structure.json, sensitivity.json and assignment.json; `keep` names one below
    runs/ where none is named.

    Raises RequestError where nothing is within the budgets.
    """
    from qedeploy.campaign.quantization.request import parse_fixed
    from qedeploy.campaign.widths.assignment import assign_widths as assign
    from qedeploy.campaign.widths.request import WidthRequest, parse_width_budgets
    from qedeploy.files import working_in
    from qedeploy.model.checkpoint import checkpoint_file
    from qedeploy.search.result import run_folder

    file = checkpoint_file(Path(checkpoint))
    request = WidthRequest(
        checkpoint=file,
        data=Path(data),
        profile=profile,
        budgets=parse_width_budgets(list(budgets)),
        max_drop=max_drop,
        fixed=parse_fixed(list(fixed)),
        kept=tuple(kept),
        samples=samples,
        settings=normalisation,
        latency_table=as_path(latency_table),
        seed=seed,
    )
    target = as_path(folder)
    if target is None and keep:
        asked = [*map(str, (request.budgets, max_drop, request.fixed, request.kept, file)), str(data)]
        target = run_folder(f"{file.stem}-{profile or 'widths'}", {"options": asked}, None)
    with working_in(target):
        return assign(request, target, progress or say_nothing)


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
    from qedeploy.files import writing

    settings = ExportSettings(
        profile=profile,
        calibration=as_path(calibration),
        data=as_path(data),
        images=images,
        batch=batch,
        seed=seed,
        normalisation=normalisation,
    )
    with writing(Path(out)):
        return export_checkpoint(Path(checkpoint), out=Path(out), settings=settings, progress=progress or say_nothing)


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
    from qedeploy.export.compile import BuildChoice, artefact_path
    from qedeploy.export.compile import build_artefact as build_it
    from qedeploy.files import writing

    with writing(artefact_path(exported)):
        return build_it(exported, BuildChoice(choice), settings or {}, on_event=progress or say_nothing)
