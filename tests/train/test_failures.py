"""What goes wrong in a training: one line that names it, and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.train.batches import TrainingPictures, loaded, workers_alive
from qedeploy.train.checkpoints import Keeper, TrainingState
from qedeploy.train.diagnosis import broken_layer
from qedeploy.train.estimate import estimate
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
    for workers in (0, 1):
        options = TrainOptions(recipe=quick(), workers=workers, strict=True)
        with pytest.raises(UserError, match=r"^\S*class3/2\.png: not a readable image .*; mend or remove it$"):
            train(model, data, options, tmp_path / f"strict{workers}")


class Deadly(torch.utils.data.Dataset):
    """Kills the process that asks for the second item."""

    def __getitem__(self, place: int) -> int:
        if place:
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
        return place


def test_a_dead_worker_is_told_whatever_line_is_computed_then():
    def compute() -> None:
        for _ in loaded(Deadly(), [0, 1], workers=1):
            time.sleep(60)

    with pytest.raises(RequestError, match=r"died .*again with fewer of them \(--workers\)"), workers_alive():
        compute()
    with pytest.raises(RuntimeError, match="something else"), workers_alive():
        raise RuntimeError("something else")


def test_statistics_beyond_all_measure_are_named(model):
    network = load_checkpoint(model).network
    network.stem.bn.running_var[0] = torch.inf
    assert broken_layer(network, torch.rand(2, 3, 16, 16)).startswith("stem.bn.running_var are not finite")


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


def test_no_space_keeps_the_checkpoint_that_was(tmp_path):
    keeper = Keeper(tmp_path, {"seed": 0}, every=0)
    keeper.save(TrainingState(step=3, weights={"small": torch.ones(4)}))
    before = keeper.path.read_bytes()
    with (
        files_up_to(len(before) + 4096),
        pytest.raises(UserError, match=r"training\.checkpoint\.pt: cannot be written"),
    ):
        keeper.save(TrainingState(step=9, weights={"large": torch.ones(1 << 16)}))
    assert keeper.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [keeper.path.name], "nothing half-written is left"
    assert keeper.load().step == 3


def test_no_space_is_one_line_of_the_command(tmp_path, model, few_digits, monkeypatch):
    # Coverage's own file must not be what grows too large.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    command = ("train", model, "--data", few_digits, "--batch", 20, "--threads", 1, "--checkpoint-every", "0s")
    with files_up_to(model.stat().st_size // 2):
        done = qedeploy(*command, "--float-epochs", 1, "--epochs", 1, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr
    assert "training.checkpoint.pt: cannot be written" in done.stderr
    assert not (tmp_path / "out").exists(), "nothing half-written is left"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file of this process, and of those it starts, grow beyond `size` bytes: a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("part", ["stem.weight", "stem.bn.running_var"])
def test_weights_that_are_no_numbers_are_refused_before_training(tmp_path, model, few_digits, part):
    broken(model, part)
    with pytest.raises(UserError, match=rf"NaN or infinite values in {part}"):
        train(model, few_digits, TrainOptions(recipe=quick()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def broken(path: Path, part: str) -> None:
    """Put a NaN into a checkpoint, as no tool of ours writes one."""
    document = torch.load(path, weights_only=True)
    document["state_dict"][part].view(-1)[0] = torch.nan
    torch.save(document, path)


def test_a_training_of_another_network_is_not_gone_on_with(tmp_path, model, few_digits):
    out = tmp_path / "out"
    train(model, few_digits, TrainOptions(recipe=quick()), out)
    settings = json.loads((out / "train.json").read_text())
    keeper = Keeper(out, {name: settings[name] for name in ("model", "seed")}, every=0)
    keeper.save(TrainingState(weights=load_checkpoint(out / "model.pth").network.state_dict()))
    wide = save_checkpoint(
        tmp_path / "wide.pth", build(tiny_structure(channels=24), seed=0), profile="cpu-int8", recipe={}
    )
    with pytest.raises(UserError, match=r"other settings: model was .*--restart to begin anew"):
        train(wide, few_digits, TrainOptions(recipe=quick()), out)
    assert keeper.path.exists()


def test_a_teacher_of_other_classes_is_refused(tmp_path, model, few_digits):
    teacher = save_checkpoint(
        tmp_path / "teacher.pth", build(tiny_structure(classes=12), seed=0), profile="cpu-int8", recipe={}
    )
    recipe = quick(start="scratch")
    with pytest.raises(UserError, match=r"teacher\.pth: a teacher of 12 classes for a network of 10"):
        train(model, few_digits, TrainOptions(recipe=recipe, distill=str(teacher)), tmp_path / "out")


def test_the_recipe_for_imagenet_runs(tmp_path, model, few_digits):
    plan = estimate(model, few_digits, TrainOptions(recipe=load_recipe("imagenet-240")), tmp_path)
    assert [(stage.name, stage.epochs) for stage in plan.stages] == [("quantized", 240)]
    assert plan.stages[0].images_per_second > 0
    assert plan.seconds > 0
