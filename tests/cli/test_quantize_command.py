"""`qedeploy quantize` through the console script: what it prints, what it leaves, and how it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.console import qedeploy
from tests.export.onnx_networks.networks import mobile_network, write

ASK = ("quantize", "network.onnx", "--data", "images.npy", "--duration", "10ms", "--out", "out")


@pytest.fixture
def folder(tmp_path):
    write(mobile_network(), tmp_path)
    np.save(tmp_path / "images.npy", np.random.default_rng(2).normal(size=(2, 3, 32, 48)).astype(np.float32))
    return tmp_path


def test_a_network_of_anybody_is_quantized(folder):
    done = qedeploy(*ASK, "--shape", "image=1x3x32x48", "--keep", ".", "--pareto", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "prepared: " in done.stdout
    assert "float32 throughout: " in done.stdout
    assert "the front as predicted" in done.stdout
    assert {path.name for path in (folder / "out").iterdir()} == {
        "model.onnx", "sensitivity.json", "assignment.json", "sensitivity.svg", "front.svg"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "code", "part"),
    [
        ((), 2, "--shape image=1x3xNxN"),
        (("--shape", "image=1x3x32x48", "--data", "nowhere"), 2, "nowhere: expected a folder"),
        (("--shape", "image=1x3x16x16"), 2, "array 'image' is 2x3x32x48: expected 1x3x16x16"),
        (("--shape", "image=1x3x32x48", "--profile", "stm32f746"), 3, "does not write for"),
        (("--shape", "image=1x3x32x48", "--budget", "latency=0.001x"), 3, "budget"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(folder, extra, code, part):
    done = qedeploy(*ASK, *extra, cwd=folder)
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert part in lines[0]
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("extra", "code", "part"),
    [
        ((), 2, "expected a limit for a checkpoint"),
        (("--budget", "size=300KB"), 2, "nowhere.pth: no such file"),
        (("--budget", "size=300KB", "--shape", "x=1x3x8x8"), 2, "--shape: means nothing for a checkpoint"),
        (("--budget", "size=300KB", "--metric", "ctc-accuracy"), 2, "expected top1 for a checkpoint"),
        (("--budget", "speed=2"), 2, "--budget 'speed=2'"),
    ],
)
def test_what_a_checkpoint_cannot_be_asked_is_one_line(folder, extra, code, part):
    done = qedeploy("quantize", "nowhere.pth", "--data", ".", "--out", "out", *extra, cwd=folder)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert part in done.stderr
    assert not (folder / "out").exists()
