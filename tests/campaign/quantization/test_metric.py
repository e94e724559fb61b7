"""What counts as right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qedeploy import api
from qedeploy.campaign.quantization.metric import find_metric
from qedeploy.errors import UserError
from tests.export.onnx_networks.networks import mobile_network, write

SOURCES = [Path("data/cat/1.png"), Path("data/dog/2.png"), Path("data/dog/3.png")]


def outputs(*classes):
    return [{"scores": np.eye(2, dtype=np.float32)[[index]]} for index in classes]


def test_top1_counts_by_class_folders_in_per_cent():
    metric = find_metric("top1")
    assert metric.of(outputs(0, 1, 1), SOURCES) == 100
    assert metric.of(outputs(0, 1, 0), SOURCES) == pytest.approx(200 / 3)
    with pytest.raises(UserError, match="a folder for each of 2 classes, found 1"):
        metric.of(outputs(1, 1), SOURCES[1:])


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import math\n"
        "def right(outputs, sources): return len(outputs) + len(sources)\n"
        "def worse(outputs, sources): return -float(abs(outputs[0]['classes']).max())\n"
        "def nothing(outputs, sources): return math.nan\n"
        "def broken(outputs, sources): raise KeyError('label')\n"
        "number = 3\n"
    )
    return tmp_path


def test_a_function_of_the_users_own_is_called(mine):
    assert find_metric("mine:right").of(outputs(0, 1), SOURCES[:2]) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [("mine:nowhere", "cannot be imported"), ("nowhere_at_all:f", "cannot be imported"), ("mine:number", "found a int"),
     ("top5", "expected top1 or MODULE:FUNCTION")],
)  # fmt: skip
def test_a_metric_that_is_none_is_refused(mine, name, words):
    with pytest.raises(UserError, match=words):
        find_metric(name)


@pytest.mark.parametrize(("name", "words"), [("mine:nothing", "returned nan"), ("mine:broken", "raised KeyError")])
def test_a_metric_that_says_nothing_is_named(mine, name, words):
    with pytest.raises(UserError, match=words):
        find_metric(name).of(outputs(0), SOURCES[:1])


def test_a_metric_that_falls_too_far_keeps_float32(mine):
    path = write(mobile_network(), mine)
    np.save(mine / "images.npy", np.random.default_rng(2).normal(size=(3, 3, 32, 48)).astype(np.float32))
    (mine / "strict.py").write_text(
        "first = []\n"
        "def same(outputs, sources):\n"
        "    first.append(outputs[0]['classes'])\n"
        "    return float((outputs[0]['classes'] == first[0]).all())\n"
    )
    found = api.quantize(
        path, mine / "images.npy", shapes=["image=1x3x32x48"], duration="10ms", metric="strict:same", max_drop=0.5
    ).found
    assert found.assignment is None
    assert all(item.drop == 1.0 for item in found.sets)
