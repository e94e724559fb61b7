"""Writing a model from a program of its own: the same bytes, the same errors, and no second run of the caller."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator

import pytest

from qedeploy.errors import UserError
from qedeploy.model.writer import ModelOrder, ModelWriter
from qedeploy.network.published import find_published
from tests.cli.conftest import SMALL_RECIPE

SCRIPT = """
print("running")
from qedeploy import api
found = api.search("cpu-int8", "./small.toml", folder="out")
print(found.model)
import sys
print("torch" in sys.modules)
"""


@pytest.fixture
def order(tmp_path):
    structure = dataclasses.replace(find_published("Mixed7d0G").structure, resolution=32)
    return ModelOrder(
        path=tmp_path / "there.pth",
        structure=structure,
        unsigned_activation_bits=8,
        seed=5,
        profile="cpu-int8",
        recipe={"name": "r\u00e9cipe", "ratios": [0.1, 1e-300, 3], "none": None},
    )


@pytest.fixture
def writer(monkeypatch) -> Iterator[ModelWriter]:
    """A writer that found no torch when it started, as on the command line."""
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        entered = ModelWriter().__enter__()
    assert entered._process is not None
    yield entered
    entered.__exit__(None, None, None)
    assert entered._process.poll() is not None


def test_the_other_process_writes_the_same_bytes(writer, order, tmp_path):
    writer.write(order)
    dataclasses.replace(order, path=tmp_path / "here.pth").fulfil()
    assert (tmp_path / "there.pth").read_bytes() == (tmp_path / "here.pth").read_bytes()


def test_its_error_is_the_error_that_there_would_be_here(writer, order, tmp_path):
    (tmp_path / "file").write_text("")
    refused = dataclasses.replace(order, path=tmp_path / "file" / "model.pth")
    with pytest.raises(UserError) as here:
        refused.fulfil()
    with pytest.raises(UserError) as there:
        writer.write(refused)
    assert str(there.value) == str(here.value)
    assert type(there.value) is type(here.value)


def test_a_process_that_died_is_one_line(writer, order):
    writer._process.kill()
    writer._process.wait()
    with pytest.raises(UserError, match=r"there\.pth: the process that writes it died .* --no-model") as caught:
        writer.write(order)
    assert "\n" not in str(caught.value)
    assert not order.path.exists()


def test_a_script_without_a_guard_runs_once_and_needs_no_torch_itself(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_RECIPE)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["running", "out/model.pth", "False"]
    assert (tmp_path / "out" / "model.pth").exists()
