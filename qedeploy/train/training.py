"""From a checkpoint and labelled pictures to a trained checkpoint: the stages in order, each from where it was left."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.files import require_file, sha256, working_in
from qedeploy.model.checkpoint import Checkpoint, load_checkpoint
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork, initialize_steps
from qedeploy.profiles.loader import load_profile
from qedeploy.publishing import together
from qedeploy.train.checkpoints import Keeper, TrainingState
from qedeploy.train.data import LabelledData, class_places, open_data, split, whole
from qedeploy.train.execution import Execution, Pictures, TrainingStage, Watch
from qedeploy.train.group import ProcessGroup, joined, on_its_own
from qedeploy.train.log import Log
from qedeploy.train.loop import StageTraining, fill, mark_set
from qedeploy.train.memory import keep_memory
from qedeploy.train.predictions import sample_images, share_right
from qedeploy.train.preparation import Preparation
from qedeploy.train.quantization import bypass, choose_steps, estimate_statistics, round_as_device
from qedeploy.train.recipe import Pixels, Start, TrainingRecipe
from qedeploy.train.source import ImageSource, fingerprint
from qedeploy.train.transforms import Normaliser
from qedeploy.train.weights import float_twin, is_trained, retargeted, weights_from

MODEL_FILE, FLOAT_FILE = "model.pth", "float.pth"
FLOAT, QUANTIZED = 0, 1
"""Numbers of the stages."""

_STEP_IMAGES = 256
_STATISTICS_IMAGES = 4096
_PIXEL_IMAGES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a user can choose beside the recipe.

    `weights_from` is a checkpoint whose weights are taken, `distill` one that is imitated or the word `float` for the
    float network. `workers` None takes as many as there are cores where pictures must be decoded. `checkpoint_every`
    is in seconds.
    """

    recipe: TrainingRecipe
    profile: str | None = None
    weights_from: Path | None = None
    distill: str | None = None
    seed: int = 0
    workers: int | None = None
    accumulate: int = 1
    half: bool = True
    compiled: bool = False
    checkpoint_every: float = 600.0
    restart: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training left: the checkpoint and the shares of right answers on the images held out and set apart.

    `float_top1` is the float network's, None where none was trained; the test images are those that the data sets
    apart, None without. `skipped` counts pictures that could not be read, by message.
    """

    model: Path
    held_out_top1: float
    held_out_images: int
    float_top1: float | None
    test_top1: float | None
    test_images: int
    seconds: float
    skipped: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingJob:
    """Everything that the stages of one training share."""

    checkpoint: Checkpoint
    network: QuantizedNetwork
    data: LabelledData
    pictures: Pictures
    execution: Execution
    options: TrainOptions
    settings: ImageSettings
    start: Start
    out: Path


def train(
    model: Path,
    data: Path,
    options: TrainOptions,
    out: Path,
    watch: Watch = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainResult:
    """Train the checkpoint at `model` on the pictures of `data`, and write model.pth and the logs into `out`.

    A training that was interrupted in `out` goes on. `watch` is told of progress, `say` of what begins. Raises
    UserError for what cannot be read or written, RequestError where the training cannot be done, InterruptedTraining
    after Ctrl-C.
    """
    keep_memory()
    with joined() as group, working_in(out if group.writes else None):
        job = prepared(model, data, options, out, group)
        named = {"model": sha256(model), **_named_settings(job)}
        keeper = Keeper(out, named, options.checkpoint_every)
        if options.restart and group.writes:
            keeper.remove()
        group.wait()
        standing = keeper.load() or _beginning(job)
        log = Log(out, named) if group.writes else None

        def on_row(reached: TrainingState) -> None:
            if log is not None:
                log.write(reached.rows)

        skipped: dict[str, int] = {}
        if standing.stage == FLOAT:
            _train_float(job, standing, keeper, watch, on_row, skipped, say)
        _train_quantized(job, standing, keeper, watch, on_row, skipped, say)
        with together(out):
            result = _finished(job, standing, skipped, say)
            if log is not None:
                log.finish(standing.rows, {"result": _document(result)})
        if log is not None:
            keeper.remove()
        group.wait()
        return result


def prepared(model: Path, data: Path, options: TrainOptions, out: Path, group: ProcessGroup) -> TrainingJob:
    """Return everything that the stages of a training share, its network on the group's device; raises as `train`."""
    checkpoint = load_checkpoint(model)
    profile = load_profile(options.profile or checkpoint.profile)
    network = checkpoint.network if options.profile is None else retargeted(checkpoint.network, profile)
    if options.weights_from is not None:
        weights_from(options.weights_from, network)
    round_as_device(network, profile)
    labelled = open_data(data)
    if options.distill not in {None, "float"}:
        require_file(Path(str(options.distill)))
    recipe = options.recipe
    execution = Execution(
        group=group,
        workers=_workers(options.workers, labelled.train),
        accumulate=options.accumulate,
        half=options.half,
        compiled=options.compiled,
        seed=options.seed,
    )
    if recipe.batch % group.world:
        raise UserError(f"--batch {recipe.batch}: expected a multiple of the {group.world} processes")
    train_part, held_out = split(labelled.train, recipe.holdout, options.seed)
    at_a_time = min(recipe.batch, len(train_part)) // (group.world * options.accumulate)
    if at_a_time < 2:
        raise UserError(
            f"--batch {recipe.batch}: leaves {at_a_time} images at a time of {len(train_part)}, too few to be "
            "normalised: expected two or more in each process and part of --accumulate"
        )
    structure = network.structure
    places = class_places(labelled.train, (), structure.classifier.classes)
    preparation = Preparation(
        channels=structure.input_channels,
        size=structure.resolution,
        crop_share=recipe.crop_share,
        class_places=places,
        strict=options.strict,
    )
    settings = _image_settings(checkpoint, labelled.train, preparation, recipe)
    preparation = dataclasses.replace(preparation, crop_share=settings.crop_share)
    normaliser = Normaliser.of(preparation.channels, settings.mean, settings.deviation, group.device)
    network.to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingJob(
        checkpoint=dataclasses.replace(checkpoint, network=network, profile=options.profile or checkpoint.profile),
        network=network,
        data=labelled,
        pictures=Pictures(train=train_part, held_out=held_out, preparation=preparation, normaliser=normaliser),
        execution=execution,
        options=options,
        settings=settings,
        start=_start(recipe.start, network, options.weights_from is not None),
        out=out,
    )


def _start(wanted: Start, network: QuantizedNetwork, given: bool) -> Start:
    """Return where to begin: AUTO stays for a network that has weights worth keeping, and is FLOAT for another."""
    if wanted is not Start.AUTO or given or is_trained(network):
        return Start.AUTO if given and wanted is Start.FLOAT else wanted
    return Start.FLOAT


def _workers(wanted: int | None, source: ImageSource) -> int:
    import os

    from qedeploy.train.arrays import ImageArrays

    if wanted is not None:
        return wanted
    return 0 if isinstance(source, ImageArrays) else min(8, os.cpu_count() or 1)


def _image_settings(
    checkpoint: Checkpoint, source: ImageSource, preparation: Preparation, recipe: TrainingRecipe
) -> ImageSettings:
    """Return how pictures are prepared: as before where the network was trained already, else as the recipe says."""
    channels = preparation.channels
    before = checkpoint.images
    if before is None and recipe.pixels is Pixels.IMAGENET:
        before = ImageSettings(crop_share=recipe.crop_share)
    if before is not None:
        mean, deviation = before.per_channel(channels)
        return dataclasses.replace(before, mean=mean, deviation=deviation, classes=source.classes)
    mean, deviation = _pixel_statistics(source, preparation)
    return ImageSettings(mean=mean, deviation=deviation, crop_share=recipe.crop_share, classes=source.classes)


def _pixel_statistics(source: ImageSource, preparation: Preparation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the pixels of some training images, each channel's, rounded to be written down."""
    channels = preparation.channels
    plain = Normaliser.of(channels, (0.0,) * channels, (1.0,) * channels, torch.device("cpu"))
    pixels = torch.cat(list(sample_images(whole(source), preparation, plain, _PIXEL_IMAGES)))
    mean = pixels.mean(dim=(0, 2, 3)).tolist()
    deviation = pixels.std(dim=(0, 2, 3)).clamp(min=0.01).tolist()
    return tuple(round(value, 4) for value in mean), tuple(round(value, 4) for value in deviation)


def _named_settings(job: TrainingJob) -> dict[str, object]:
    """Return what names a training: one with other settings is another, and is not gone on with."""
    options = job.options
    recipe = dataclasses.asdict(options.recipe)
    recipe["augmentation"]["crop_scale"] = list(options.recipe.augmentation.crop_scale)
    return {
        "profile": job.checkpoint.profile,
        "data": fingerprint(job.data.train),
        "recipe": {key: str(value) if isinstance(value, str) else value for key, value in _plain(recipe).items()},
        "seed": options.seed,
        "accumulate": options.accumulate,
        "weights_from": None if options.weights_from is None else sha256(options.weights_from),
        "distill": options.distill,
    }


def _plain(value: dict[str, object]) -> dict[str, object]:
    return {
        key: _plain(item) if isinstance(item, dict) else str(item) if isinstance(item, str) else item
        for key, item in value.items()
    }


def _beginning(job: TrainingJob) -> TrainingState:
    floats_first = job.start is Start.FLOAT and job.options.recipe.float_epochs > 0
    standing = TrainingState(stage=FLOAT if floats_first else QUANTIZED)
    if not floats_first:
        set_quantizers(job)
    fill(standing, job.network)
    return standing


def _train_float(
    job: TrainingJob,
    standing: TrainingState,
    keeper: Keeper,
    watch: Watch,
    on_row: Callable[[TrainingState], None],
    skipped: dict[str, int],
    say: Callable[[str], None],
) -> None:
    recipe = job.options.recipe
    say(f"float network, {recipe.float_epochs:g} epochs")
    bypass(job.network, True)
    stage = TrainingStage(number=FLOAT, name="float", epochs=recipe.float_epochs, rate=recipe.float_rate)
    training = StageTraining(stage, job.network, recipe, job.pictures, job.execution)
    training.restore(standing)
    training.run(standing, keeper, watch, on_row)
    skipped.update(training.skipped.messages)
    assert standing.best is not None
    job.network.load_state_dict(standing.best.weights)
    bypass(job.network, False)
    on_its_own(job.network)
    if job.execution.group.writes:
        dataclasses.replace(job.checkpoint, network=float_twin(_on_cpu(job.network)), images=job.settings).save(
            job.out / FLOAT_FILE
        )
    set_quantizers(job)
    standing.stage, standing.step, standing.best, standing.sums = QUANTIZED, 0, None, {}
    standing.optimizer = standing.average = None
    standing.updates = 0
    fill(standing, job.network)
    if job.execution.group.writes:
        keeper.save(standing)


def _train_quantized(
    job: TrainingJob,
    standing: TrainingState,
    keeper: Keeper,
    watch: Watch,
    on_row: Callable[[TrainingState], None],
    skipped: dict[str, int],
    say: Callable[[str], None],
) -> None:
    recipe = job.options.recipe
    job.network.load_state_dict(standing.weights)
    mark_set(job.network, standing.set_steps)
    if not recipe.epochs:
        return
    say(f"quantized network, {recipe.epochs:g} epochs")
    stage = TrainingStage(number=QUANTIZED, name="quantized", epochs=recipe.epochs, rate=recipe.rate)
    training = StageTraining(stage, job.network, recipe, job.pictures, job.execution, teacher=_teacher(job, standing))
    training.restore(standing)
    training.run(standing, keeper, watch, on_row)
    skipped.update(training.skipped.messages)
    on_its_own(job.network)
    assert standing.best is not None
    job.network.load_state_dict(standing.best.weights)


def _finished(
    job: TrainingJob, standing: TrainingState, skipped: dict[str, int], say: Callable[[str], None]
) -> TrainResult:
    """Choose between the statistics of training and new ones by the held-out images, and write the checkpoint."""
    say("statistics of the final weights")
    network, pictures = job.network, job.pictures
    network.eval()

    def judged() -> float:
        return share_right(network, pictures.held_out, pictures.preparation, pictures.normaliser, job.execution)

    before, top1 = copy.deepcopy(network.state_dict()), judged()
    estimate_statistics(network, list(_images(job, _STATISTICS_IMAGES)))
    again = judged()
    if again < top1:
        set_steps = standing.set_steps
        network.load_state_dict(before)
        mark_set(network, set_steps if not job.options.recipe.epochs else ())
    test_top1, test_images = None, 0
    if job.data.test is not None:
        subset = whole(job.data.test)
        places = class_places(job.data.test, job.data.train.classes, len(job.data.train.classes))
        preparation = dataclasses.replace(pictures.preparation, class_places=places)
        test_top1 = share_right(network, subset, preparation, pictures.normaliser, job.execution)
        test_images = len(subset)
    path = job.out / MODEL_FILE
    if job.execution.group.writes:
        dataclasses.replace(job.checkpoint, network=_on_cpu(network), images=job.settings).save(path)
    floats = [row["held_out_top1"] for row in standing.rows if row["stage"] == "float"]
    return TrainResult(
        model=path,
        held_out_top1=max(top1, again),
        held_out_images=len(pictures.held_out),
        float_top1=max(floats) if floats else None,
        test_top1=test_top1,
        test_images=test_images,
        seconds=standing.seconds,
        skipped=skipped,
    )


def set_quantizers(job: TrainingJob) -> None:
    """Give every quantizer that has none a step: the paper's first ones from scratch, else those of least error."""
    network = job.network
    images = torch.cat(list(_images(job, _STEP_IMAGES)))
    if job.start is Start.SCRATCH:
        initialize_steps(network, images)
        return
    if choose_steps(network, images, keep_trained=job.start is Start.AUTO):
        estimate_statistics(network, list(_images(job, _STATISTICS_IMAGES)))


def _images(job: TrainingJob, count: int) -> list[Tensor]:
    pictures = job.pictures
    return list(sample_images(pictures.train, pictures.preparation, pictures.normaliser, count))


def _teacher(job: TrainingJob, standing: TrainingState) -> QuantizedNetwork | None:
    distill = job.options.distill
    if distill is None:
        return None
    path = job.out / FLOAT_FILE if distill == "float" else Path(distill)
    if distill == "float" and not any(row["stage"] == "float" for row in standing.rows):
        teacher = float_twin(_on_cpu(job.network))
    else:
        teacher = load_checkpoint(path).network
    classes = job.network.structure.classifier.classes
    if teacher.structure.classifier.classes != classes:
        raise UserError(
            f"{path}: a teacher of {teacher.structure.classifier.classes} classes for a network of {classes}: give one "
            "of the same classes"
        )
    return teacher.to(job.execution.group.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]


def _on_cpu(network: QuantizedNetwork) -> QuantizedNetwork:
    return copy.deepcopy(network).to("cpu")


def _document(result: TrainResult) -> dict[str, object]:
    document = dataclasses.asdict(result)
    document["model"] = {"file": result.model.name, "sha256": sha256(result.model)}
    document["skipped"] = dict(result.skipped)
    return document
