"""Digits learned through the whole of `train`: accuracy, what is written, and what an export of it keeps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from qedeploy.errors import UserError
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.model.network import QuantizedNetwork, layer_modules
from qedeploy.network.structure import Bits
from qedeploy.train.evaluate import evaluate
from qedeploy.train.recipe import choose_recipe, load_recipe, with_changes
from qedeploy.train.training import TrainOptions, train
from tests.model.structures import tiny_structure

W4A4 = Bits(weight=4, activation=4)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    return save_checkpoint(
        tmp_path_factory.mktemp("model") / "model.pth",
        build(tiny_structure(W4A4), seed=0),
        profile="cpu-int8",
        recipe={"name": "tiny"},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, untrained, digits):
    recipe = with_changes(
        load_recipe("quick"), {"float_epochs": 8, "epochs": 4, "batch": 64, "flip": 0.0, "crop_padding": 1}
    )
    return train(untrained, digits, TrainOptions(recipe=recipe), tmp_path_factory.mktemp("trained"))


def test_digits_are_learned(trained):
    assert trained.float_top1 > 0.85
    assert trained.test_top1 > 0.85
    assert trained.test_images == 397
    assert trained.held_out_images == 70


def test_the_folder_says_what_happened(trained):
    folder = trained.model.parent
    names = {path.name for path in folder.iterdir()} - {"tensorboard"}
    assert names == {"model.pth", "float.pth", "train.json", "log.csv", "curves.svg"}
    rows = list(csv.DictReader((folder / "log.csv").open()))
    assert [row["stage"] for row in rows] == ["float"] * 8 + ["quantized"] * 4
    document = json.loads((folder / "train.json").read_text())
    assert document["format"] == "qedeploy-train/1"
    assert document["seed"] == 0
    assert document["recipe"]["batch"] == 64
    assert document["result"]["test_top1"] == trained.test_top1
    assert "<svg" in (folder / "curves.svg").read_text()


def test_the_checkpoint_says_how_pictures_are_prepared(trained, digits):
    checkpoint = load_checkpoint(trained.model)
    assert checkpoint.recipe == {"name": "tiny"}
    assert checkpoint.images.classes == tuple(map(str, range(10)))
    assert checkpoint.images.crop_share == 1
    assert checkpoint.network.device_points


def test_the_exported_file_is_as_accurate(trained, digits, tmp_path):
    exported = export_checkpoint(trained.model, out=tmp_path / "model.onnx")
    assert not exported.warnings, "no step is left to calibrate on random data"
    ours = evaluate(trained.model, digits)
    theirs = evaluate(exported.model, digits, against=trained.model)
    assert ours.judged.top1.value == pytest.approx(trained.test_top1)
    assert abs(theirs.difference.value) <= 0.003 + 1 / 397
    assert "ONNX Runtime" in theirs.judged.runtime
    assert theirs.images_known


def test_an_export_counts_what_the_lowering_costs(trained, digits, tmp_path):
    exported = export_checkpoint(trained.model, out=tmp_path / "model.onnx", settings=ExportSettings(data=digits))
    kept = exported.accuracy
    assert kept.before.value == trained.test_top1
    assert kept.after == evaluate(exported.model, digits).judged.top1
    assert kept.difference == evaluate(exported.model, digits, against=trained.model).difference
    assert kept.apart
    written = json.loads(exported.report.read_text())["accuracy"]
    assert written["before"]["right"] == kept.before.right
    assert written["after"]["count"] == 397


def test_an_export_calibrates_on_pictures_to_train_on(untrained, digits, tmp_path):
    settings = ExportSettings(data=digits, images=9)
    exported = export_checkpoint(untrained, out=tmp_path / "model.onnx", settings=settings)
    with np.load(digits) as archive:
        first = torch.from_numpy(archive["x_train"][0].astype(np.float32))
    seen = exported.prepared.images
    assert len(seen) == 9
    assert np.corrcoef(seen[0, 0].flatten(), _enlarged(first, seen.shape[-1]).flatten())[0, 1] > 0.9
    assert not [warning for warning in exported.warnings if "random" in warning]
    assert [warning for warning in exported.warnings if "ImageNet's mean" in warning]


def _enlarged(picture: torch.Tensor, size: int) -> torch.Tensor:
    """Return the middle seven eighths of a picture at another size, as ImageNet's crop leaves it."""
    whole = round(size / 0.875)
    large = torch.nn.functional.interpolate(picture[None, None], size=(whole, whole), mode="bilinear")[0, 0]
    edge = (whole - size) // 2
    return large[edge : edge + size, edge : edge + size]


def test_an_export_for_pictures_of_other_classes_is_refused(untrained, tmp_path):
    np.savez(tmp_path / "two.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
    with pytest.raises(UserError, match=r"2 classes \(0, 1\), and the network has 10"):
        export_checkpoint(untrained, out=tmp_path / "model.onnx", settings=ExportSettings(data=tmp_path / "two.npz"))
    assert not (tmp_path / "model.onnx").exists()


def test_post_training_quantization_takes_no_step(trained, digits, tmp_path):
    recipe = with_changes(load_recipe("quick"), {"epochs": 0, "start": "auto"})
    options = TrainOptions(recipe=recipe, weights_from=trained.model.parent / "float.pth", profile="cpu-int8")
    network = build(tiny_structure(Bits(weight=8, activation=8)), seed=3)
    model = save_checkpoint(tmp_path / "w8a8.pth", network, profile="cpu-int8", recipe={})
    found = train(model, digits, options, tmp_path / "out")
    assert found.test_top1 > trained.float_top1 - 0.05
    loaded = load_checkpoint(found.model).network
    assert not loaded.stem.activation_quantizer.trained, "calibration may choose the step again"


def test_a_teacher_is_imitated_whatever_the_labels_say(trained, untrained, digits, tmp_path):
    with np.load(digits) as archive:
        arrays = dict(archive)
    arrays["y_train"] = np.random.default_rng(0).permutation(arrays["y_train"])
    np.savez(tmp_path / "wrong.npz", **arrays)
    recipe = with_changes(
        load_recipe("quick"),
        # A single epoch: wrong labels would choose among several by chance.
        {"start": "scratch", "epochs": 1, "batch": 8, "flip": 0.0, "distill_weight": 1.0, "rate": 0.1},
    )
    options = TrainOptions(recipe=recipe, distill=str(trained.model.parent / "float.pth"))
    found = train(untrained, tmp_path / "wrong.npz", options, tmp_path / "out")
    assert found.test_top1 > 0.7
    assert json.loads((tmp_path / "out" / "train.json").read_text())["distill"] == options.distill


def unsigned_bytes(network: QuantizedNetwork) -> list[str]:
    """Return the names of the layers that read unsigned grids of 8 bits."""
    read = {name: module.activation_quantizer for name, module in layer_modules(network).items()}
    return [name for name, quantizer in read.items() if quantizer.bits == 8 and not quantizer.signed]


def test_a_trained_network_goes_to_another_device_in_one_command(trained, digits, tmp_path):
    recipe = with_changes(load_recipe("quick"), {"epochs": 1, "batch": 64, "flip": 0.0})
    found = train(trained.model, digits, TrainOptions(recipe=recipe, profile="t4-int8"), tmp_path / "out")
    checkpoint = load_checkpoint(found.model)
    assert (checkpoint.profile, found.float_top1) == ("t4-int8", None)
    # A T4 has no unsigned grids of 8 bits.
    assert unsigned_bytes(load_checkpoint(trained.model).network)
    assert not unsigned_bytes(checkpoint.network)
    assert found.test_top1 > trained.test_top1 - 0.03
    # Verified by the exporter value by value; then counted.
    exported = export_checkpoint(found.model, out=tmp_path / "model.onnx")
    assert exported.comparison.passed
    assert exported.plan.profile == "t4-int8"
    gap = evaluate(exported.model, digits, against=found.model).difference
    assert gap.only_first + gap.only_second <= 0.04 * gap.count, "half precision turns a few roundings to 4 bits"


@pytest.mark.parametrize(
    ("count", "name"), [(1, "small"), (9_999, "small"), (10_000, "quick"), (200_000, "imagenet-240")]
)
def test_the_usual_recipe_goes_by_the_number_of_pictures(count, name):
    assert choose_recipe(None, lambda: count).name == name
    assert choose_recipe("quick", lambda: count).name == "quick"
