"""The ONNX Runtime runner on real sessions: what it feeds, what it records, what it refuses and how."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qedeploy.errors import RequestError, UserError
from qedeploy.runtimes.onnxruntime.runner import reduce_events
from qedeploy.runtimes.runner import InputTensor, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from tests.bench.graphs import BRIEF, convolution, exported, relu, save


def test_a_runner_says_what_it_measures(tmp_path):
    path = convolution(tmp_path / "model.onnx")
    with open_runner(path, RunnerOptions(threads=1, batch=2)) as runner:
        description = runner.description
        samples = runner.measure(BRIEF)
    assert description.inputs == (InputTensor(name="x", element_type="tensor(float)", shape=(2, 3, 16, 16)),)
    assert (description.batch, description.threads) == (2, 1)
    assert description.settings["intra_op_num_threads"] == "1"
    assert description.settings["graph_optimization_level"] == "ORT_ENABLE_ALL"
    assert len(samples.latency) >= 10
    assert np.all(samples.latency > 0)
    assert samples.latency.sum() <= samples.elapsed


def test_a_profile_holds_every_node_and_no_more_than_the_whole(tmp_path):
    exported(tmp_path / "model.onnx")
    with open_runner(tmp_path / "model.onnx", RunnerOptions()) as runner:
        profile = runner.profile(BRIEF)
    names = [node.name for node in profile.nodes]
    for layer in ("stem", "stage1.block1.depthwise", "head", "classifier"):
        assert any(name.startswith(layer) for name in names)
    assert sum(node.seconds for node in profile.nodes) <= profile.inside <= profile.whole - profile.interrupted


def test_profiling_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = convolution(tmp_path / "model.onnx")
    with open_runner(path, RunnerOptions()) as runner:
        runner.profile(BRIEF)
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


def test_nodes_without_a_name_and_inside_a_loop_are_counted_once():
    def node(name: str, operator: str, start: int, duration: int, index: int) -> dict[str, object]:
        arguments = {"op_name": operator, "node_index": str(index)}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": duration, "args": arguments}

    run = [
        node("", "Relu", 0, 5, 0),
        node("", "Relu", 5, 7, 1),
        node("inner", "Add", 13, 40, 0),
        node("loop", "Loop", 12, 50, 2),
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 70},
    ]
    profile = reduce_events(run * 3, np.asarray([75e-6, 75e-6]))
    assert [(found.name, round(found.seconds * 1e6)) for found in profile.nodes] == [
        ("Relu_0", 5),
        ("Relu_1", 7),
        ("loop", 50),
    ]
    assert profile.inside == pytest.approx(70e-6)
    assert profile.interrupted == 0
    assert profile.whole == pytest.approx(75e-6)
    assert profile.queries == 2


def test_an_interruption_is_counted_for_no_node():
    def run(duration: int) -> list[dict[str, object]]:
        arguments = {"op_name": "Conv", "node_index": "0"}
        node = {"cat": "Node", "name": "layer_kernel_time", "ts": 1, "dur": duration, "args": arguments}
        return [node, {"cat": "Session", "name": "model_run", "ts": 0, "dur": duration + 2}]

    durations = [100, 101, 100, 4100, 100, 101, 100, 100]
    whole = np.asarray(durations) * 1e-6 + 3e-6
    profile = reduce_events([event for duration in durations for event in run(duration)], whole)
    assert profile.nodes[0].seconds == pytest.approx(100.25e-6)
    assert profile.interrupted == pytest.approx(500e-6, rel=0.01)
    assert profile.whole == pytest.approx(whole.mean())


def test_a_query_is_answered_by_the_session_that_is_timed(tmp_path):
    exported(tmp_path / "model.onnx")
    images = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32)
    alone = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    name = alone.get_inputs()[0].name
    with open_runner(tmp_path / "model.onnx", RunnerOptions()) as runner:
        found = runner.infer({name: images})
        assert len(runner.measure(BRIEF).latency) >= BRIEF.iterations
        again = runner.infer({name: images[:1].astype(np.float64)})
    expected = alone.run(None, {name: images})
    assert list(found) == [output.name for output in alone.get_outputs()]
    np.testing.assert_array_equal(next(iter(found.values())), expected[0])
    np.testing.assert_allclose(next(iter(again.values())), expected[0][:1], rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, r"expected values for its inputs x, found values for none"),
        ({"x": np.ones((2, 3, 16, 8), np.float32)}, r"input 'x': expected values of shape anyx3x16x16, found 2x3x16x8"),
        ({"x": np.float32(1)}, r"found a scalar"),
    ],
)
def test_a_query_of_another_name_or_shape_is_refused(inputs, expected, tmp_path):
    path = convolution(tmp_path / "model.onnx")
    with open_runner(path, RunnerOptions()) as runner, pytest.raises(UserError, match=expected):
        runner.infer(inputs)


def text(path: Path) -> Path:
    path.write_text("not a model\n")
    return path


def truncated(path: Path) -> Path:
    exported(path)
    path.write_bytes(path.read_bytes()[:-700])
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def unknown_operator(path: Path) -> Path:
    return save(path, [helper.make_node("Sparkle", ["x"], ["y"], domain="example")])


def unwritten_kernel(path: Path) -> Path:
    return relu(path, element_type=TensorProto.BFLOAT16)


def string(path: Path) -> Path:
    return save(path, [helper.make_node("Identity", ["x"], ["y"])], element_type=TensorProto.STRING)


def impossible_shapes(path: Path) -> Path:
    return save(path, [helper.make_node("MatMul", ["x", "x"], ["y"])], (1, 4))


def fails_when_run(path: Path) -> Path:
    bound = onnx.numpy_helper.from_array(np.asarray([7], np.int64), "to")
    return save(path, [helper.make_node("Reshape", ["x", "to"], ["y"])], ("batch", 4), initializers=[bound])


BAD = {
    text: (UserError, "not an ONNX model"),
    truncated: (UserError, "not an ONNX model"),
    empty: (UserError, "is empty"),
    folder: (UserError, "is a folder"),
    lambda path: path: (UserError, "cannot be read"),
    unknown_operator: (RequestError, "Sparkle"),
    unwritten_kernel: (RequestError, "Relu"),
    string: (UserError, "tensor.string."),
    impossible_shapes: (UserError, "refuses it"),
    fails_when_run: (RequestError, "cannot execute it"),
    lambda path: relu(path, ("batch", 0)): (UserError, "dimension 1 is 0"),
    lambda path: relu(path, ("batch", "length")): (UserError, "leaves open which size it has .*--shape "),
    lambda path: relu(path, (4, 4)): (UserError, "batch is fixed at 4"),
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_models_are_refused_in_one_line(make, tmp_path, capfd):
    kind, expected = BAD[make]
    path = make(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=expected) as caught, open_runner(path, RunnerOptions(batch=2)):
        pass
    assert type(caught.value) is kind
    assert "model.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_batch_beyond_memory_is_refused_before_it_is_made(tmp_path):
    path = convolution(tmp_path / "model.onnx", size=512)
    with pytest.raises(RequestError, match="lower --batch"), open_runner(path, RunnerOptions(batch=10**7)):
        pass


@pytest.mark.parametrize("name", ["model.txt", "model.pth", "model"])
def test_other_files_are_refused_with_what_is_expected(name):
    with pytest.raises(UserError, match=r"expected one of: .*\.onnx"):
        open_runner(Path(name), RunnerOptions())


def test_a_trace_is_plain_json_of_the_runtime(tmp_path):
    """The profiler's form is ONNX Runtime's own: a change of it must fail here and not in a report."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "trace")
    session = onnxruntime.InferenceSession(str(relu(tmp_path / "relu.onnx")), options)
    session.run(None, {"x": np.ones((1, 4), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    profile = reduce_events(events, np.asarray([1.0]))
    assert [node.op_type for node in profile.nodes] == ["Relu"]


def test_an_output_of_another_size_than_is_declared_is_refused_before_the_run(tmp_path):
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    path = tmp_path / "other.onnx"
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (7, 4, 16, 16))],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(RequestError, match="invalid dimensions for output: y"), open_runner(path, RunnerOptions()):
        pass
    with open_runner(path, RunnerOptions(batch=7)) as runner:
        assert len(runner.measure(BRIEF).latency) >= 10
