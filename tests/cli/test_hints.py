"""What is nearly right gets a hint: folders in place of files, numbers without units, names in other letters."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from qedeploy import api
from qedeploy.bench.source import ModelOrRecording
from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import checkpoint_file, load_checkpoint, save_checkpoint
from qedeploy.search.space.budgets import parse_budget
from tests.export.networks import small_structure


def open_model(path: Path) -> Path:
    shape = ["n", 3, "h", "w"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "open", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_an_open_size_names_the_option_and_the_option_works(tmp_path):
    path = open_model(tmp_path / "open.onnx")
    with pytest.raises(UserError, match=r"any x 3 x any x any.*--shape x=1x3x224x224"):
        api.bench(path, seconds=0.01, warm_up=0)
    found = api.bench(path, shapes=["x=2x3x8x8"], seconds=0.01, warm_up=0)
    assert found.result.runner.inputs[0].shape == (2, 3, 8, 8)
    with pytest.raises(UserError, match="expected a --shape that fits it"):
        api.bench(path, shapes=["x=2x4x8x8"], seconds=0.01, warm_up=0)


def test_a_folder_in_a_models_place_names_the_model_in_it(tmp_path):
    with pytest.raises(UserError, match="it holds no model"):
        ModelOrRecording(model=tmp_path).folder(None)
    (tmp_path / "model.pth").touch()
    with pytest.raises(UserError, match=r"`qedeploy export .*model\.pth` writes one"):
        ModelOrRecording(model=tmp_path).folder(None)
    open_model(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"name the model in it: .*model\.onnx"):
        ModelOrRecording(model=tmp_path).folder(None)


def test_a_run_folder_stands_for_its_checkpoint(tmp_path):
    network = build(small_structure(), seed=0)
    save_checkpoint(tmp_path / "other.pth", network, profile="cpu-int8", recipe={})
    with pytest.raises(UserError, match=r"name the one in it: .*other\.pth"):
        checkpoint_file(tmp_path)
    (tmp_path / "other.pth").rename(tmp_path / "model.pth")
    assert load_checkpoint(checkpoint_file(tmp_path)).structure == small_structure()


def test_a_model_of_any_bits_names_the_profiles_that_fit(tmp_path):
    network = build(small_structure(), seed=0)
    save_checkpoint(tmp_path / "model.pth", network, profile="any-bits", recipe={})
    with pytest.raises(RequestError, match=r"any-bits is for search only.*export with --profile .*cpu-int8"):
        api.export(tmp_path / "model.pth", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("bitops=7", "bitops=7G"),
        ("bitops=7.0", "bitops=7.0G"),
        ("flops=109", "flops=109G"),
        ("executed-bitops=20", "executed-bitops=20G"),
        ("size=2.2", "size=2.2MB"),
        ("peak-memory=320", "peak-memory=320KiB"),
        ("latency=4", "latency=4ms"),
    ],
)
def test_a_number_without_its_unit_gets_one(text, hint):
    with pytest.raises(UserError, match=rf"did you mean {hint}\?"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["bitops=7000000000", "layers=47", "size=1048576", "bitops=7.0G", "flops=109e6"])
def test_a_number_that_makes_sense_is_taken(text):
    assert parse_budget(text)[1] > 0
