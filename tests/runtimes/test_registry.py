"""Which runtime runs a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.qdq.metadata import read_metadata, to_properties
from qedeploy.runtimes.base import BuildSource
from qedeploy.runtimes.onnxruntime.runner import OnnxRuntimeRunner
from qedeploy.runtimes.onnxruntime.runtime import OnnxRuntime
from qedeploy.runtimes.registry import dialect_for, find_runtime, reference, runtime_of, runtimes
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.runners import open_runner
from tests.bench.graphs import exported, relu
from tests.runtimes.toy.package import BUILT_IN, install


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("model.onnx", "onnxruntime"), ("MODEL.ONNX", "onnxruntime"), ("engine.plan", "tensorrt"), ("a.trt", "tensorrt")],
)
def test_a_suffix_says_who_runs_a_file(name, runtime):
    assert runtime_of(Path(name)).name == runtime


def test_a_file_that_nobody_runs_lists_what_is_run():
    with pytest.raises(
        UserError, match=r"a.txt: cannot be measured: expected one of: .*\.onnx, \.plan, .*, found \.txt"
    ):
        runtime_of(Path("a.txt"))


def planned_for(path: Path, runtime: str) -> Path:
    exported(path)
    metadata = read_metadata(path)
    plan = dataclasses.replace(metadata.plan, runtime=runtime)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, to_properties(dataclasses.replace(metadata, plan=plan)))
    onnx.save(model, path)
    return path


def test_of_several_that_run_a_suffix_it_is_the_one_that_the_file_was_exported_for(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, entry="onnxtoy = tests.runtimes.toy.runtime:ONNX_TOY")
    assert runtime_of(planned_for(tmp_path / "toy.onnx", "onnxtoy")).name == "onnxtoy"
    assert runtime_of(planned_for(tmp_path / "cpu.onnx", "onnxruntime")).name == "onnxruntime"
    assert runtime_of(planned_for(tmp_path / "gone.onnx", "uninstalled")).name == "onnxruntime"
    assert runtime_of(relu(tmp_path / "foreign.onnx")).name == "onnxruntime"
    assert runtime_of(tmp_path / "missing.onnx").name == "onnxruntime"
    foreign = relu(tmp_path / "foreign.onnx")
    assert isinstance(open_runner(foreign, RunnerOptions()), OnnxRuntimeRunner)
    with pytest.raises(UserError, match="not a toy"):
        open_runner(foreign, RunnerOptions(), "onnxtoy")


@pytest.mark.parametrize("runtime", list(runtimes()), ids=lambda runtime: runtime.name)
def test_a_runtime_is_what_its_dialects_and_folder_say(runtime):
    assert find_runtime(runtime.name) is runtime
    for name in runtime.dialects:
        dialect = dialect_for(runtime.name, name)
        assert (dialect.runtime, dialect.name) == (runtime.name, name)
        assert dialect.lowerings <= set(runtime.capabilities.lowerings)
        assert dialect.unsigned_activation_bits == runtime.capabilities.unsigned_activation_bits
    assert (runtime.artefact is None) == (runtime.artefact_path(Path("a/model.onnx")) == Path("a/model.onnx"))


def test_what_is_built_goes_beside_the_onnx_file():
    tensorrt = find_runtime("tensorrt")
    assert tensorrt.artefact_path(Path("a/model.onnx")) == Path("a/engine.plan")
    assert tensorrt.artefact_path(Path("a/other.onnx")) == Path("a/other.plan")


@pytest.mark.parametrize("name", ["none", "tflite", ""])
def test_a_runtime_that_is_none_lists_those_there_are(name):
    with pytest.raises(RequestError, match=f"runtimes it writes for: {', '.join(BUILT_IN)}"):
        find_runtime(name)


def test_one_runtime_runs_onnx_literally(tmp_path):
    found = reference()
    assert found.version().startswith("onnxruntime ")
    model = relu(tmp_path / "relu.onnx").read_bytes()
    values = np.float32([[-1, 2, -3, 4]])
    assert found.evaluator(model, False)({"x": values})["y"].tolist() == [[0, 2, 0, 4]]
    assert onnx.load_model_from_string(found.simplify(model)).graph.node[0].op_type == "Relu"


class Absent(OnnxRuntime):
    label = "Absent Runtime"
    packages = ("no-such-distribution",)


def test_a_runtime_that_is_not_installed_says_how_to_get_it():
    assert Absent().version() is None
    with pytest.raises(MissingRuntimeError, match="Absent Runtime is not installed: pip install no-such-distribution"):
        Absent().require()
    find_runtime("onnxruntime").require()


def test_a_runtime_that_builds_nothing_says_so(tmp_path):
    with pytest.raises(RequestError, match=r"model.onnx: ONNX Runtime runs it as it is, there is nothing to build"):
        find_runtime("onnxruntime").build(BuildSource(model=Path("model.onnx")), tmp_path / "x", {}, None)
