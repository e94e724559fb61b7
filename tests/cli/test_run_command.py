"""The whole path through the console script: a device goes in, a measured network and its report come out."""

from __future__ import annotations

import json

import onnx

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


def test_a_profile_that_nothing_executes_is_refused_before_the_search(tmp_path):
    done = qedeploy("run", "--profile", "any-bits", cwd=tmp_path)
    assert done.returncode == 3
    assert "any-bits" in done.stderr
    assert not list(tmp_path.iterdir())
