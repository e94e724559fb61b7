"""What goes wrong in a training: one line that names it, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.train.batches import TrainingPictures, loaded
from qedeploy.train.execution import TrainingStage
from qedeploy.train.group import joined
from qedeploy.train.loop import StageTraining
from qedeploy.train.recipe import TrainingRecipe, load_recipe, with_changes
from qedeploy.train.training import TrainOptions, prepared, set_quantizers, train
from tests.cli.console import qedeploy
from tests.model.structures import tiny_structure


@pytest.fixture
def model(tmp_path) -> Path:
    return save_checkpoint(tmp_path / "model.pth", build(tiny_structure(), seed=0), profile="cpu-int8", recipe={})


def quick(**changes) -> TrainingRecipe:
    return with_changes(load_recipe("quick"), {"float_epochs": 1, "epochs": 1, "batch": 20, **changes})


def pictures(folder: Path, classes: int = 10, each: int = 6) -> Path:
    generator = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{number}.png")
    return folder


def test_a_loss_that_is_no_number_names_step_and_layer(tmp_path, model, few_digits):
    options = TrainOptions(recipe=quick(start="scratch", rate=1e3, epochs=8, weight_decay=10.0))
    with pytest.raises(RequestError, match=r"no number any more at step \d+ of \d+ .*--rate") as caught:
        train(model, few_digits, options, tmp_path / "out")
    assert "not finite" in str(caught.value)
    assert not (tmp_path / "out" / "model.pth").exists()


def test_a_corrupt_picture_is_skipped_and_counted_or_fatal(tmp_path, model):
    data = pictures(tmp_path / "data")
    (data / "class3" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    found = train(model, data, TrainOptions(recipe=quick(), workers=0), tmp_path / "out")
    assert [message for message in found.skipped if "class3/2.png" in message]
    with pytest.raises(UserError, match=r"class3/2\.png: not a readable image"):
        train(model, data, TrainOptions(recipe=quick(), workers=0, strict=True), tmp_path / "strict")


def test_a_class_more_than_the_network_has(tmp_path, model):
    data = pictures(tmp_path / "data", classes=11)
    done = qedeploy("train", model, "--data", data, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "11 classes" in done.stderr
    assert "the network has 10" in done.stderr


def test_weights_of_another_structure(tmp_path, model, few_digits):
    other = build(tiny_structure(channels=24), seed=0)
    path = save_checkpoint(tmp_path / "other.pth", other, profile="cpu-int8", recipe={})
    with pytest.raises(UserError, match=r"other\.pth: expected weights of the same structure"):
        train(model, few_digits, TrainOptions(recipe=quick(), weights_from=path), tmp_path / "out")


def test_another_device_gets_its_widths_and_signs(tmp_path, model, few_digits):
    found = train(model, few_digits, TrainOptions(recipe=quick(), profile="t4-int8"), tmp_path / "out")
    checkpoint = load_checkpoint(found.model)
    assert checkpoint.profile == "t4-int8"
    assert checkpoint.network.classifier.activation_quantizer.signed
    assert not load_checkpoint(model).network.classifier.activation_quantizer.signed


def test_memory_that_runs_out_says_what_fits(tmp_path, model, few_digits, monkeypatch):
    options = TrainOptions(recipe=quick(start="scratch"))
    with joined() as group:
        job = prepared(model, few_digits, options, tmp_path, group)
        set_quantizers(job)
        stage = TrainingStage(number=1, name="quantized", epochs=1, rate=1e-3)
        training = StageTraining(stage, job.network, options.recipe, job.pictures, job.execution)
    whole = training.network.forward

    def short_of_memory(images: torch.Tensor) -> torch.Tensor:
        if len(images) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(images)

    monkeypatch.setattr(training.network, "forward", short_of_memory)
    made = TrainingPictures(job.pictures.train, job.pictures.preparation, options.recipe.augmentation)
    batch = next(loaded(made, training.order.requests(0, 1), 0))
    with pytest.raises(RequestError, match="20 images at a time; 5 images at a time fit: use --accumulate 4"):
        training.train_step(0, batch)


def test_a_dry_run_says_what_it_will_take_and_writes_nothing(tmp_path, model, few_digits):
    done = qedeploy("train", model, "--data", few_digits, "--batch", 20, "--threads", 1, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    assert "minutes in all" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_one_picture_at_a_time_is_refused_before_training(tmp_path, model, few_digits):
    for recipe, accumulate in ((quick(batch=1), 1), (quick(batch=8), 8)):
        with pytest.raises(UserError, match=r"leaves 1 images at a time of 190, .* two or more"):
            train(model, few_digits, TrainOptions(recipe=recipe, accumulate=accumulate), tmp_path / "out")


def test_a_teacher_that_is_missing_is_told_before_training(tmp_path, model, few_digits):
    teacher = str(tmp_path / "teacher.pth")
    with pytest.raises(UserError, match=r"teacher\.pth: cannot be read"):
        train(model, few_digits, TrainOptions(recipe=quick(), distill=teacher), tmp_path / "out")
    assert not (tmp_path / "out" / "log.csv").exists()
