"""`qedeploy evaluate` through the real console script: exit codes of its gates, and of an engine without TensorRT."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch

from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.model.network import initialize_steps
from tests.campaign.accuracy.small import write_digits
from tests.cli.console import qedeploy
from tests.model.structures import tiny_structure


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    write_digits(folder / "digits.npz")
    for seed, name in enumerate(("model", "other")):
        network = build(tiny_structure(), seed=seed)
        initialize_steps(network, torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(seed)))
        save_checkpoint(folder / f"{name}.pth", network.eval(), profile="cpu-int8", recipe={})
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--fail-if", "top1<0.1%"), 0, ""),
        (("--fail-if", "top1<70%"), 3, "gate top1<70% failed"),
        (("--against", "model.pth", "--fail-if", "top1-drop>5%"), 0, ""),
        (("--against", "model.pth", "--fail-if", "top1-drop>0%"), 3, "verdict withheld"),
        (("--fail-if", "top1-drop>0.5%"), 2, "name it with --against"),
        (("--fail-if", "top1-drop>0.5%", "--data", "missing.npz"), 2, "name it with --against"),
        (("--fail-if", "top1=70%"), 2, "expected top1<70%"),
    ],
)
def test_gates_decide_the_exit_code(files, tmp_path, arguments, code, message):
    done = qedeploy("evaluate", "model.pth", "--data", "digits.npz", "--out", tmp_path, *arguments, cwd=files)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    if code in (0, 3):
        written = json.loads((tmp_path / "accuracy.json").read_text())
        assert written["model"]["top1"]["count"] == 150
        assert len(written["verdicts"]) == 1
    if code == 0 and "--against" in arguments:
        assert "as often right as model.pth, 95 % interval [-" in done.stdout


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_an_engine_without_its_runtime_is_exit_code_4_in_one_line(files):
    (files / "engine.plan").write_bytes(b"ftrt" + bytes(64))
    done = qedeploy("evaluate", "engine.plan", "--data", "digits.npz", cwd=files)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "TensorRT" in done.stderr
