"""A training that is killed anywhere ends in the weights of one that was left alone, bit for bit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.train.checkpoints import FILE
from tests.cli.console import press_ctrl_c, qedeploy, started
from tests.model.structures import tiny_structure

SETTINGS = (
    "--float-epochs", 2, "--epochs", 2, "--batch", 25, "--ema", 0.9, "--mixup", 0.2, "--randaugment", 1, "--clip", 5,
    "--threads", 1, "--checkpoint-every", "0s", "--seed", 3,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pth"
    return save_checkpoint(path, build(tiny_structure(), seed=0), profile="cpu-int8", recipe={})


@pytest.fixture(scope="module")
def without_overhead(tmp_path_factory, model, few_digits) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = qedeploy("train", model, "--data", few_digits, "--out", folder, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert not (folder / FILE).exists()
    return folder


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "model.pth").network.state_dict()


def assert_same(folder: Path, other: Path) -> None:
    ours, theirs = state(folder), state(other)
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert [line.rsplit(",", 2)[0] for line in (folder / "log.csv").read_text().splitlines()] == [
        line.rsplit(",", 2)[0] for line in (other / "log.csv").read_text().splitlines()
    ]


def until_saved(folder: Path, process, times: int) -> None:
    """Return when the checkpoint was written `times` times."""
    seen: set[int] = set()
    while len(seen) < times:
        assert process.poll() is None, process.stderr.read()
        if (folder / FILE).exists():
            seen.add((folder / FILE).stat().st_mtime_ns)
        time.sleep(0.002)


@pytest.mark.parametrize("saved", [(3,), (2, 9, 14)])
def test_killed_and_started_again(tmp_path, model, few_digits, without_overhead, saved):
    command = ("train", model, "--data", few_digits, "--out", tmp_path, *SETTINGS)
    for times in saved:
        with started(*command, cwd=tmp_path) as process:
            until_saved(tmp_path, process, times)
            os.killpg(process.pid, signal.SIGKILL)
    done = qedeploy(*command)
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path, without_overhead)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, model, few_digits, without_overhead):
    command = ("train", model, "--data", few_digits, "--out", tmp_path, *SETTINGS)
    with started(*command, cwd=tmp_path) as process:
        until_saved(tmp_path, process, 2)
        said = press_ctrl_c(process)
    assert "the same command goes on" in said
    assert (tmp_path / FILE).exists()
    other = qedeploy(*command[:-2], "--seed", 4)
    assert other.returncode == 2
    assert "seed was 3, now 4" in other.stderr
    assert qedeploy(*command).returncode == 0
    assert_same(tmp_path, without_overhead)


def test_a_damaged_checkpoint_is_told_and_restart_begins_anew(tmp_path, model, few_digits, without_overhead):
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 and no more")
    command = ("train", model, "--data", few_digits, "--out", tmp_path, *SETTINGS)
    done = qedeploy(*command)
    assert done.returncode == 2
    assert "damaged" in done.stderr
    assert qedeploy(*command, "--restart").returncode == 0
    assert_same(tmp_path, without_overhead)
