"""A program for tests: a few steps of a training, alone or under torchrun, and what they did, as JSON in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from qedeploy.train.batches import TrainingPictures, loaded
from qedeploy.train.execution import TrainingStage
from qedeploy.train.group import joined
from qedeploy.train.loop import StageTraining
from qedeploy.train.recipe import load_recipe, with_changes
from qedeploy.train.training import TrainOptions, prepared, set_quantizers

STEPS = 3


def main(model: str, data: str, out: str, accumulate: str) -> None:
    """Train, and write what came out."""
    torch.set_num_threads(1)
    changes = {"batch": 32, "mixup": 0.2, "rate": 1e-4, "start": "scratch", "label_smoothing": 0.1}
    options = TrainOptions(recipe=with_changes(load_recipe("quick"), changes), accumulate=int(accumulate))
    with joined() as group:
        job = prepared(Path(model), Path(data), options, Path(out).parent, group)
        set_quantizers(job)
        stage = TrainingStage(number=1, name="quantized", epochs=1, rate=1e-4)
        training = StageTraining(stage, job.network, options.recipe, job.pictures, job.execution)
        training.network.train()
        pictures = TrainingPictures(job.pictures.train, job.pictures.preparation, options.recipe.augmentation)
        losses = []
        for step, batch in enumerate(loaded(pictures, training.order.requests(0, STEPS), 0)):
            sums = torch.tensor([float(value) for value in training.train_step(step, batch)])
            loss, _, count = group.total(sums).tolist()
            losses.append(loss / count)
        if group.writes:
            gradients = {name: value.grad.flatten().tolist() for name, value in job.network.named_parameters()}
            mean = job.network.stem.bn.running_mean.tolist()
            Path(out).write_text(json.dumps({"losses": losses, "gradients": gradients, "mean": mean}))


main(*sys.argv[1:])
