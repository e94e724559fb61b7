"""`qedeploy export` through the console script: what it prints, what it leaves, and how it refuses."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest

from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from tests.cli.console import qedeploy
from tests.export.networks import small_structure

CLASSES = small_structure().classifier.classes


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "model.pth", build(small_structure(), seed=0), profile="cpu-int8", recipe={})
    return tmp_path


def refused(done, code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


def test_export_right_behind_a_search(folder):
    done = qedeploy("export", "model.pth", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "model.onnx" in done.stdout
    assert "integers differ" in done.stdout
    assert "never trained" in done.stdout
    assert "shortcuts read on the next" in done.stdout
    assert "accuracy is not known from 4 images: --data DIR" in " ".join(done.stdout.split())
    assert "top-1" not in done.stdout, "four images are no accuracy"
    assert {path.name for path in folder.iterdir()} == {"model.pth", "model.onnx", "model.export.json"}
    onnx.checker.check_model(onnx.load(folder / "model.onnx"), full_check=True)


def test_options(folder):
    done = qedeploy(
        "export", "model.pth", "--out", "a/net.onnx", "--profile", "cpu-int8", "--batch", 2, "--images", 3,
        "--seed", 5, "--calibrate", "random", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = onnx.load(folder / "a" / "net.onnx")
    assert [item.dim_value for item in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 16, 16]


def test_pictures_say_what_the_lowering_costs(folder):
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (60, 16, 16, 3), np.uint8), np.arange(60) % CLASSES
    np.savez(folder / "data.npz", x_train=images[:40], y_train=labels[:40], x_test=images[40:], y_test=labels[40:])
    done = qedeploy("export", "model.pth", "--data", "data.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "of 20 images; model.pth by PyTorch" in done.stdout
    assert "of 20 images; model.onnx by ONNX Runtime" in done.stdout
    said = " ".join(done.stdout.split())
    assert "model.onnx is " in said
    assert "20 images, the test pictures of data.npz" in said
    assert "of 16 images" in said
    assert "accuracy is not known" not in said
    assert "random data" not in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("missing.pth", None, "missing.pth"),
        ("truncated.pth", "half", "truncated.pth"),
    ],
)
def test_what_is_no_checkpoint(folder, name, content, part):
    if content == "half":
        whole = (folder / "model.pth").read_bytes()
        content = whole[: len(whole) // 2]
    if content is not None:
        (folder / name).write_bytes(content)
    refused(qedeploy("export", name, cwd=folder), 2, part)
    assert not list(folder.glob("*.onnx"))


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (["--profile", "any-bits"], 3, "cpu-int8"),
        (["--profile", "no-such"], 2, "no-such"),
        (["--calibrate", "no-such-folder"], 2, "no-such-folder"),
        (["--out", "/dev/null/model.onnx"], 2, "cannot be written"),
        (["--mean", "1,2"], 2, "--mean: expected three numbers"),
    ],
)
def test_what_cannot_be_done(folder, options, code, part):
    refused(qedeploy("export", "model.pth", *options, cwd=folder), code, part)
    assert {path.name for path in folder.iterdir()} == {"model.pth"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(folder):
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    refused(qedeploy("export", "model.pth", "--out", locked / "model.onnx", cwd=folder), 2, "Permission denied")


def test_an_unreadable_image_is_named(folder):
    (folder / "images" / "deep").mkdir(parents=True)
    (folder / "images" / "deep" / "cat.jpg").write_text("not a picture")
    refused(qedeploy("export", "model.pth", "--calibrate", "images", cwd=folder), 2, "cat.jpg: not a readable image")
