"""The whole path through the console script: a device goes in, a measured network and its report come out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits

from tests.cli.console import qedeploy

RECIPE = """
description = "The smallest member of the reference's space, at an eighth of its resolution."
resolution = 32
[stem]
channels = { min = 8, max = 8 }
kernel = 3
stride = 2
bits = "W8A8"
[stages]
strides = [2, 2, 2, 1, 2]
channels = { min = 8, max = 16 }
kernels = [3]
ratios = [1.5, 2.0]
depths = [1]
bits = "profile"
bits_per = "block"
[head]
channels = 64
bits = "profile"
[classifier]
classes = 10
bits = "W8A8"
[score]
sigma_activation = 5.0
sigma_weight = 4.0
stage_ratios = [0.0, 0.0, 1.0, 1.0, 6.0]
"""


def test_run_leaves_one_folder_with_model_and_report(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    arguments = ("--profile", "cpu-int8", "--recipe", "./small.toml", "--duration", "20ms", "--out", "out")
    done = qedeploy("run", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"structure.json", "search.json", "model.pth", "model.onnx", "bench.json", "report.html"} <= written
    structure = json.loads((tmp_path / "out" / "structure.json").read_text())
    nodes = {node.name for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node}
    assert {"stem", "head", "classifier"} <= nodes
    assert {f"stage{number}.block1.depthwise" for number in range(1, len(structure["stages"]) + 1)} <= nodes


def digits(path: Path, classes: int, *, test: bool = True) -> Path:
    """Write the digits below `classes`, 300 to train on and 100 to test on."""
    data = load_digits()
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(data.target < classes))[:400]
    images, labels = np.rint(data.images[chosen] / 16 * 255).astype(np.uint8), data.target[chosen]
    arrays = {"x_train": images[:300], "y_train": labels[:300]}
    np.savez(path, **arrays, **({"x_test": images[300:], "y_test": labels[300:]} if test else {}))
    return path


def test_run_with_pictures_trains_a_network_of_their_classes_and_judges_the_file(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    data = digits(tmp_path / "digits.npz", classes=7)
    arguments = [
        "--profile",
        "cpu-int8",
        "--recipe",
        "./small.toml",
        "--data",
        str(data),
        "--resolution",
        "24",
        "--no-flip",
    ]
    arguments += ["--float-epochs", "3", "--epochs", "0.5", "--duration", "20ms", "--out", "out"]
    done = qedeploy("run", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    structure = json.loads((out / "structure.json").read_text())
    assert (structure["classifier"]["classes"], structure["resolution"]) == (7, 24)
    recipe = json.loads((out / "trained" / "train.json").read_text())["recipe"]
    assert (recipe["epochs"], recipe["float_epochs"], recipe["augmentation"]["flip"]) == (0.5, 3, 0)
    exported = json.loads((out / "model.export.json").read_text())
    assert not exported["warnings"], "training set every step"
    accuracy = json.loads((out / "accuracy.json").read_text())
    assert accuracy["model"]["sha256"] == json.loads((out / "bench.json").read_text())["model"]["sha256"]
    assert accuracy["model"]["top1"]["count"] == accuracy["data"]["images"] == 100
    assert accuracy["against"]["file"] == "model.pth"
    beside = json.loads((out / "bench.json").read_text())["surroundings"]["accuracy"]
    assert (beside["top1"], beside["images"]) == (accuracy["model"]["top1"]["value"], 100)
    assert accuracy["model"]["top1"]["value"] > 2 / 7, "twice as often as by chance"


def test_what_a_network_was_trained_on_does_not_judge_it(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    data = digits(tmp_path / "digits.npz", classes=3, test=False)
    arguments = ["--profile", "cpu-int8", "--recipe", "./small.toml", "--data", str(data)]
    arguments += ["--float-epochs", "0.5", "--epochs", "0", "--duration", "20ms", "--out", "out"]
    done = qedeploy("run", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sets no test pictures apart" in done.stdout
    assert not (tmp_path / "out" / "accuracy.json").exists()


def test_pictures_that_cannot_be_had_are_told_before_the_search(tmp_path):
    done = qedeploy("run", "--profile", "cpu-int8", "--data", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    done = qedeploy("run", "--profile", "cpu-int8", "--epochs", 3, cwd=tmp_path)
    assert done.returncode == 2
    assert "--epochs" in done.stderr
    assert "--data" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_profile_that_nothing_executes_is_refused_before_the_search(tmp_path):
    done = qedeploy("run", "--profile", "any-bits", cwd=tmp_path)
    assert done.returncode == 3
    assert "any-bits" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_limit_on_time_is_measured_for_first(tmp_path, monkeypatch):
    (tmp_path / "small.toml").write_text(RECIPE)
    arguments = ("--profile", "cpu-int8", "--recipe", "./small.toml", "--resolution", "24", "--duration", "20ms")
    limited = (*arguments, "--budget", "latency=1s", "--measure-minutes", "0.05")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    done = qedeploy("run", *limited, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = list((tmp_path / "data" / "qedeploy" / "latency").iterdir())
    (table,) = (path for path in kept if path.suffix == ".json")
    assert [path.name for path in kept if "small-resolution-24" in path.name], kept
    assert json.loads((tmp_path / "out" / "search.json").read_text())["latency_seconds"] > 0
    before = table.read_bytes()
    again = qedeploy("run", *limited, "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert table.read_bytes() == before, "a table that is kept is enough"
