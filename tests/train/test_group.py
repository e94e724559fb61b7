"""Two processes with half the batch each train what one does with the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.network.structure import Bits
from tests.model.structures import tiny_structure

FEW_STEPS = Path(__file__).parent / "few_steps.py"
ROOT = Path(__file__).parents[2]


def made(folder: Path, activation: int, profile: str) -> Path:
    bits = Bits(weight=8, activation=activation)
    structure = tiny_structure(bits, edge=bits)
    return save_checkpoint(folder / "model.pth", build(structure, seed=0), profile=profile, recipe={})


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=150, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done


def torchrun(processes: int) -> tuple[object, ...]:
    return (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)


@pytest.mark.parametrize(
    ("activation", "profile", "loss", "gradient", "layers"),
    [
        # A last digit that differs can become a step of a grid: of weights after an update, and of activations at once.
        (16, "any-bits", 1e-5, 0.01, ""),
        (8, "cpu-int8", 1e-3, 0.1, "classifier.bias"),
    ],
)
def test_two_processes_train_as_one(tmp_path, few_digits, activation, profile, loss, gradient, layers):
    model = made(tmp_path, activation, profile)
    run(sys.executable, FEW_STEPS, model, few_digits, tmp_path / "one.json", 1)
    run(*torchrun(2), FEW_STEPS, model, few_digits, tmp_path / "two.json", 1)
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=loss)
    np.testing.assert_allclose(two["mean"], one["mean"], rtol=1e-4, atol=1e-6)
    chosen = {name: values for name, values in one["gradients"].items() if name.startswith(layers)}
    assert chosen
    for name, theirs in chosen.items():
        ours, scale = np.asarray(two["gradients"][name]), np.abs(theirs).max() + 1e-4
        assert np.sqrt(np.mean(((ours - theirs) / scale) ** 2)) < gradient, name


def test_the_whole_command_in_two_processes(tmp_path, few_digits):
    model, out = made(tmp_path, 8, "cpu-int8"), tmp_path / "out"
    settings = ("--float-epochs", 1, "--epochs", 1, "--batch", 50, "--ema", 0.9, "--threads", 1, "--out", out)
    done = run(*torchrun(2), "-m", "qedeploy", "train", model, "--data", few_digits, *settings)
    assert done.stdout.count("quantized network: top-1") == 1, "one process speaks"
    assert load_checkpoint(out / "model.pth").network.stem.activation_quantizer.trained
    assert not list(out.glob("*checkpoint*"))
