"""One step of a training: in parts it is that of the whole batch; a teacher weighs what the recipe says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.structure import Bits
from qedeploy.train.batches import Batch, TrainingPictures, loaded
from qedeploy.train.execution import TrainingStage
from qedeploy.train.group import joined
from qedeploy.train.loop import StageTraining
from qedeploy.train.recipe import load_recipe, with_changes
from qedeploy.train.training import TrainOptions, prepared, set_quantizers
from tests.model.structures import tiny_structure


@pytest.fixture
def model(tmp_path) -> Path:
    bits = Bits(weight=4, activation=4)
    return save_checkpoint(tmp_path / "model.pth", build(tiny_structure(bits), seed=0), profile="cpu-int8", recipe={})


def stage_training(model: Path, data: Path, teacher: nn.Module | None = None, accumulate: int = 1, **changes: object):
    """Return a stage that is ready to train with 4-bit quantizers, and its first batch."""
    recipe = with_changes(load_recipe("quick"), {"batch": 40, "start": "scratch", **changes})
    options = TrainOptions(recipe=recipe, accumulate=accumulate)
    with joined() as group:
        job = prepared(model, data, options, model.parent, group)
        set_quantizers(job)
        stage = TrainingStage(number=1, name="quantized", epochs=1, rate=1e-3)
        training = StageTraining(stage, job.network, recipe, job.pictures, job.execution, teacher=teacher)
    made = TrainingPictures(job.pictures.train, job.pictures.preparation, recipe.augmentation)
    return training, next(loaded(made, training.order.requests(0, 1), 0))


def step(training: StageTraining, batch: Batch, *, statistics: bool) -> dict[str, torch.Tensor]:
    """Return the gradients of a step, which normalises by the batch or else by the running statistics."""
    training.network.train()
    for module in training.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(statistics)
    training.train_step(0, batch)
    return {name: value.grad for name, value in training.network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_parts_of_a_batch_add_up_to_it(model, few_digits, mixup):
    whole, halves = (
        step(*stage_training(model, few_digits, accumulate=parts, mixup=mixup, label_smoothing=0.1), statistics=False)
        for parts in (1, 2)
    )
    assert whole.keys() == halves.keys()
    for name, wanted in whole.items():
        # The steps of 4 bits too: each part counts as the share that it is.
        torch.testing.assert_close(halves[name], wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()) + 1e-9)


def test_each_part_is_normalised_by_itself(model, few_digits):
    """As everywhere: only processes share their statistics. The difference is one of statistics, not of direction."""
    whole, halves = (step(*stage_training(model, few_digits, accumulate=parts), statistics=True) for parts in (1, 2))
    name = "classifier.weight"
    assert not torch.equal(whole[name], halves[name])
    cosine = nn.functional.cosine_similarity(whole[name].flatten(), halves[name].flatten(), dim=0)
    assert cosine > 0.95


def test_the_teacher_weighs_what_the_recipe_says(model, few_digits):
    class Sure(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 20 * nn.functional.one_hot(torch.full((len(images),), 7), 10).float()

    losses = {}
    for weight in (0.0, 0.25, 1.0):
        training, batch = stage_training(model, few_digits, teacher=Sure(), distill_weight=weight)
        training.network.eval()
        losses[weight] = float(training.train_step(0, batch)[0])
    alone, batch = stage_training(model, few_digits)
    alone.network.eval()
    assert losses[0.0] == pytest.approx(float(alone.train_step(0, batch)[0]))
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[1.0], rel=1e-5)
    # A teacher that is sure of one class says what labels of that class would.
    labelled, batch = stage_training(model, few_digits)
    labelled.network.eval()
    batch = Batch(pixels=batch.pixels, labels=torch.full_like(batch.labels, 7), skipped=(), share=1.0)
    assert losses[1.0] == pytest.approx(float(labelled.train_step(0, batch)[0]), rel=1e-3)
