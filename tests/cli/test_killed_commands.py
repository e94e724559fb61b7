"""Commands killed with signal 9 at moments that a seed chooses: what lies there is whole, and again is the same.

Searches and trainings, which go on where they were, have tests of their own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from qedeploy.latency.table import read_table
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from tests.bench.graphs import convolution
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import qedeploy, started
from tests.export.networks import small_structure

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, an ONNX file and a recipe, for the commands that take them."""
    save_checkpoint(tmp_path / "model.pth", build(small_structure(), seed=0), profile="cpu-int8", recipe={})
    convolution(tmp_path / "model.onnx")
    (tmp_path / "recipe.toml").write_text(SMALL_RECIPE)
    return tmp_path


def kill_now_and_then(folder: Path, arguments: tuple[str, ...], whole: Callable[[], None], kills: int = 3) -> None:
    """Start a command `kills` times, kill it within three seconds, and look each time at what lies there."""
    chance = random.Random(" ".join(arguments))
    for _ in range(kills):
        with started(*arguments, cwd=folder) as process:
            try:
                process.wait(chance.uniform(0.3, 3.0))
            except TimeoutExpired:
                process.kill()
            process.communicate()
        whole()
    done = qedeploy(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    whole()


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("built.pth", ("models", "build", "mixed7d0g", "--resolution", "32", "--out", "built.pth")),
        ("made.onnx", ("export", "model.pth", "--out", "made.onnx")),
    ],
)
def test_a_file_is_there_whole_or_not_at_all_and_again_the_same(folder, file, arguments):
    assert qedeploy(*arguments, cwd=folder).returncode == 0
    expected = (folder / file).read_bytes()
    (folder / file).unlink()

    def whole() -> None:
        assert not (folder / file).exists() or (folder / file).read_bytes() == expected

    kill_now_and_then(folder, arguments, whole)
    assert (folder / file).exists()


def test_a_benchmark_leaves_both_files_or_none(folder):
    def whole() -> None:
        names = [sorted((folder / "out").glob(f"{name}*")) for name in ("bench", "report")]
        assert len(names[0]) == len(names[1])
        for document in names[0]:
            assert json.loads(document.read_text())["model"]["name"] == "model.onnx"
        for report in names[1]:
            assert report.read_text().rstrip().endswith("</html>")

    arguments = ("bench", "model.onnx", "--out", "out", "--duration", "100ms", "--warm-up", "0ms")
    kill_now_and_then(folder, arguments, whole)
    assert (folder / "out" / "bench.json").exists()


def test_a_table_that_is_measured_can_be_read_whenever_that_ends(folder):
    def whole() -> None:
        if (folder / "table.json").exists():
            assert read_table(folder / "table.json").points

    arguments = ("measure", "--profile", "cpu-int8", "--recipe", "./recipe.toml", "--minutes", "0.05", "--out")
    kill_now_and_then(folder, (*arguments, "table.json"), whole, kills=1)
    assert (folder / "table.json").exists()
