"""From a search to a .tflite file that is timed and asked."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from qedeploy import api
from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.litert.memory import shortages
from qedeploy.runtimes.litert.record import read_record
from qedeploy.runtimes.litert.runner import LiteRTRunner
from qedeploy.runtimes.litert.runtime import LiteRT
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.runtimes.timing import TimingProtocol
from qedeploy.train.quantization import round_as_device

SHORT = TimingProtocol(warm_up=0, duration=0.02, iterations=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("mcu")
    made = api.search("stm32f746", resolution=32, folder=found)
    outcome = api.build_artefact(api.export(made.model, found / "model.onnx"), "required")
    assert outcome.path == found / "model.tflite"
    assert "integers are those of LiteRT's arithmetic" in outcome.artefact.description
    return found


def test_it_answers_as_the_onnx_file_does(folder):
    images = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    answers = []
    for name in ("model.tflite", "model.onnx"):
        with open_runner(folder / name, RunnerOptions(), None if name.endswith("tflite") else "onnxruntime") as runner:
            assert runner.description.inputs[0].shape == (1, 3, 32, 32)
            assert runner.description.inputs[0].element_type == "tensor(float)"
            answers.append(runner.infer({"image": images})["logits"])
    litert, onnx = answers
    assert litert.shape == onnx.shape == (1, 1000)
    assert np.abs(litert - onnx).max() < 0.1 * np.abs(onnx).max()


def test_bench_says_whose_time_it_is_and_what_memory_it_takes(folder):
    measured = api.bench(folder / "model.tflite", seconds=0.05, warm_up=0, folder=folder / "bench")
    document = json.loads((folder / "bench" / "bench.json").read_text())
    assert any("this CPU, not of the board" in warning for warning in measured.result.warnings)
    assert document["runner"]["runtime"] == "LiteRT"
    assert document["engine"]["memory"]["flash"] == (folder / "model.tflite").stat().st_size
    assert "memory on a microcontroller" in [section.title for section in measured.result.sections]
    assert measured.result.summary.median > 0


def test_the_c_array_is_the_file(folder, tmp_path):
    exported = api.export(folder / "model.pth", tmp_path / "1 net.onnx")
    path = api.build_artefact(exported, settings={"c_array": True}).path
    text = (tmp_path / f"{path.name}.h").read_text()
    assert re.search(r"static const unsigned char _1_net_tflite\[\] __attribute__\(\(aligned\(16\)\)\) = \{", text)
    assert bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", text)) == path.read_bytes()
    assert f"_1_net_tflite_len = {path.stat().st_size};" in text


def test_a_network_that_overfills_the_device_is_warned_of(folder):
    memory = read_record(folder / "model.tflite").memory
    profile = load_profile("stm32f746")
    assert shortages(memory, profile) == ()
    small = dataclasses.replace(profile.memory, weight_bytes=memory.flash - 1, activation_bytes=memory.sram - 1)
    flash, sram = shortages(memory, dataclasses.replace(profile, memory=small))
    assert flash.startswith("flash: the network alone takes ")
    assert sram.endswith("search again with a smaller --budget peak-memory")


def test_what_is_timed_stays_the_same_after_a_query(folder):
    with LiteRTRunner(folder / "model.tflite", RunnerOptions(seed=3)) as runner:
        before = runner._interpreter.get_tensor(runner._inputs[0].index).copy()
        runner.infer({"image": np.zeros((1, 3, 32, 32), np.float32)})
        np.testing.assert_array_equal(runner._interpreter.get_tensor(runner._inputs[0].index), before)
        profile = runner.profile(SHORT)
    (node,) = profile.nodes
    assert len(node.layers) == len(runner._record.metadata.graph.layers)
    assert profile.whole == pytest.approx(node.seconds + profile.interrupted)


def test_a_file_of_another_batch_is_refused(folder):
    with pytest.raises(UserError, match="fixed at 1: expected --batch 1, found --batch 2"):
        LiteRTRunner(folder / "model.tflite", RunnerOptions(batch=2)).__enter__()


def test_a_file_without_its_record_is_fed_as_it_is(folder, tmp_path):
    path = tmp_path / "other.tflite"
    path.write_bytes((folder / "model.tflite").read_bytes())
    assert find_runtime("litert").metadata(path) is None
    with open_runner(path, RunnerOptions()) as runner:
        assert str(runner.description.inputs[0]) == "image: tensor(int8) 1x32x32x3"
        assert runner.infer({"image": np.ones((1, 32, 32, 3), np.int8)})["logits"].dtype == np.int8
        assert len(runner.measure(SHORT).latency) >= 3
        assert runner.profile(SHORT).nodes[0].layers == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"TFL3" * 9, "not a model that LiteRT reads"),
        (b"\x00" * 64, "not a model that LiteRT reads"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, content, expected):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        LiteRTRunner(path, RunnerOptions()).__enter__()
    assert "\n" not in str(caught.value)


def test_a_record_of_another_file_is_refused(folder, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes((folder / "model.tflite").read_bytes() + b"\x00" * 16)
    record = tmp_path / "model.tflite.json"
    record.write_bytes((folder / "model.tflite.json").read_bytes())
    with pytest.raises(UserError, match="its SHA-256 differs"):
        find_runtime("litert").metadata(path)
    record.write_text('{"format": "other"}')
    with pytest.raises(UserError, match=r"expected format qedeploy-litert/1, found other"):
        find_runtime("litert").metadata(path)


def test_without_the_package_an_export_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(LiteRT, "version", lambda self: None)
    exported = api.export(folder / "model.pth", folder / "again.onnx")
    outcome = api.build_artefact(exported)
    assert outcome.artefact is None
    assert outcome.reason == "LiteRT is not installed: pip install 'qedeploy[litert]'"
    with pytest.raises(MissingRuntimeError):
        api.build_artefact(exported, "required")


def test_training_rounds_where_the_file_does_but_for_the_logits(folder):
    network = load_checkpoint(folder / "model.pth").network
    round_as_device(network, load_profile("stm32f746"))
    points = {point.value for point in network.device_points}
    record = read_record(folder / "model.tflite")
    assert points == {value.name for value in record.lowering.points} - {"classifier"}
    assert "stage1.block2.add" not in points
    assert any(value.endswith(".project") for value in points)
