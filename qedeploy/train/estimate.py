"""What a training will take, measured on its first steps, and the batch that fits where memory ran out."""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from qedeploy.train.batches import Batch, TrainingPictures, loaded, workers_alive
from qedeploy.train.execution import TrainingStage
from qedeploy.train.group import joined
from qedeploy.train.loop import StageTraining
from qedeploy.train.memory import keep_memory
from qedeploy.train.quantization import bypass
from qedeploy.train.recipe import Start
from qedeploy.train.training import FLOAT, QUANTIZED, TrainingJob, TrainOptions, prepared, set_quantizers

_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What a stage takes: `peak_bytes` of the GPU, or of this process, `waiting_share` of the time for pictures."""

    name: str
    epochs: float
    seconds_per_epoch: float
    images_per_second: float
    peak_bytes: int
    waiting_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What a training takes, measured on `steps` steps of each stage."""

    device: str
    pictures: int
    steps: int
    stages: tuple[StagePlan, ...]

    @property
    def seconds(self) -> float:
        """Return the time of all stages."""
        return sum(stage.epochs * stage.seconds_per_epoch for stage in self.stages)


def estimate(model: Path, data: Path, options: TrainOptions, out: Path) -> TrainingPlan:
    """Return what `train` with these arguments will take; nothing is written. Raises what `train` does."""
    keep_memory()
    with joined() as group:
        job = prepared(model, data, options, out, group)
        recipe = options.recipe
        stages = []
        if job.start is Start.FLOAT and recipe.float_epochs:
            bypass(job.network, True)
            stages.append(
                _measured(job, TrainingStage(number=FLOAT, name="float", epochs=recipe.float_epochs, rate=recipe.rate))
            )
            bypass(job.network, False)
        if recipe.epochs:
            set_quantizers(job)
            stages.append(
                _measured(
                    job, TrainingStage(number=QUANTIZED, name="quantized", epochs=recipe.epochs, rate=recipe.rate)
                )
            )
        device = torch.cuda.get_device_name(group.device) if group.device.type == "cuda" else "the CPU"
        return TrainingPlan(device=device, pictures=len(job.pictures.train), steps=_STEPS, stages=tuple(stages))


@workers_alive()
def _measured(job: TrainingJob, stage: TrainingStage) -> StagePlan:
    training = StageTraining(stage, copy.deepcopy(job.network), job.options.recipe, job.pictures, job.execution)
    training.network.train()
    cuda = job.execution.group.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    batches = loaded(
        TrainingPictures(job.pictures.train, job.pictures.preparation, job.options.recipe.augmentation),
        training.order.requests(0, _STEPS + 1),
        job.execution.workers,
    )
    waited = computed = 0.0
    images = 0
    for step, (batch, seconds) in enumerate(_timed(batches)):
        began = time.perf_counter()
        training.train_step(step, batch)
        if cuda:
            torch.cuda.synchronize()
        if step:  # The first step also makes what the later ones find.
            waited += seconds
            computed += time.perf_counter() - began
            images += len(batch.labels) * job.execution.group.world
    steps = max(1, images // max(1, job.options.recipe.batch)) if images else 1
    per_step = (waited + computed) / steps
    return StagePlan(
        name=stage.name,
        epochs=stage.epochs,
        seconds_per_epoch=per_step * training.order.steps,
        images_per_second=images / max(waited + computed, 1e-9),
        peak_bytes=torch.cuda.max_memory_allocated() if cuda else _peak_of_process(),
        waiting_share=waited / max(waited + computed, 1e-9),
    )


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Yield each batch with the seconds that it was waited for."""
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - began


def _peak_of_process() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
