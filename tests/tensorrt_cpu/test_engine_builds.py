"""What qedeploy exports for TensorRT, in TensorRT's own parser and builder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from qedeploy.errors import RequestError
from qedeploy.files import sha256
from qedeploy.network.published import find_published
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.runtimes.nvidia.engine import BuiltEngine, build_engine
from qedeploy.runtimes.nvidia.fallback import without_quantization
from qedeploy.runtimes.nvidia.machine import Gpu, probe
from qedeploy.runtimes.nvidia.record import read_record, record_path
from qedeploy.runtimes.nvidia.settings import BatchRange, EngineSettings
from tests.tensorrt_cpu.models import W4A16, lowered, metadata_of, structure, write

VERSION = "11.4.0.106"
_PROFILES = {name: load_profile(name) for name in profile_names()}
PROFILES_BY_PAIRS = {
    str(profile.precisions): name for name, profile in sorted(_PROFILES.items()) if profile.runtime == "tensorrt"
}
"""One profile of those that lower alike, whose graphs are the same but for the profile's name."""

CARRIED = Bits(weight=3, activation=5)
STRUCTURES = {
    "W8A8": structure(),
    "W3A5 5x5": structure(
        expand=CARRIED, depthwise=CARRIED, project=Bits(weight=2, activation=7), kernel=5, resolution=31, pooled=False
    ),
    "W6A4 7x7": structure(depthwise=Bits(weight=6, activation=4), kernel=7, channels=24, bottleneck=72, classes=7),
}
INT4_STRUCTURES = {
    "all W4A16": structure(expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16, kernel=5),
    "project W4A16": structure(project=W4A16, classifier=W4A16, resolution=33),
    "expand W4A16": structure(expand=W4A16, depthwise=CARRIED, head=W4A16, pooled=False),
    "no blocks": structure(expand=W4A16, project=W4A16, channels=20, bottleneck=60, classifier=W4A16, classes=7),
}


def built(network, folder: Path, *, name: str = "engine", batch: int | None = 1, **options) -> BuiltEngine:
    onnx = write(network, folder / f"{name}.onnx", batch=batch)
    return build_engine(
        onnx, folder / f"{name}.plan", version=VERSION, gpu=None, metadata=metadata_of(network), **options
    )


def test_the_machine_is_found_to_have_tensorrt_and_no_gpu():
    machine = probe()
    assert machine.tensorrt == VERSION
    assert machine.gpu is None
    assert "driver" in machine.lacks_gpu


@pytest.mark.parametrize("profile", PROFILES_BY_PAIRS.values())
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_profile_builds(profile, name, tmp_path):
    engine = built(lowered(STRUCTURES[name], profile), tmp_path)
    assert engine.plan.stat().st_size == engine.plan_bytes > 100_000


@pytest.mark.parametrize("name", ["MBV2-4bit", "Mixed19d2G"])
def test_published_models_build(name, tmp_path):
    """MobileNetV2 has what the others have not: ReLU6, blocks without a first layer, adds that can be negative."""
    described = dataclasses.replace(find_published(name).structure, resolution=32)
    built(lowered(described), tmp_path)


@pytest.mark.parametrize("name", INT4_STRUCTURES)
def test_4_bit_weights_build(name, tmp_path):
    built(lowered(INT4_STRUCTURES[name], "t4-int4"), tmp_path, batch=None)


def test_4_bit_weights_stay_4_bit_in_the_plan(tmp_path):
    wide = structure(
        expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16, channels=256, bottleneck=1024, classes=1000
    )
    network = lowered(wide, "t4-int4")
    weights = [layer for layer in network.plan.layers if layer.lowering == "int4-weight-only"]
    count = sum(network.layers[layer.name].weight.size for layer in weights)
    four = built(network, tmp_path, name="int4").plan_bytes
    half = built(without_quantization(network, [layer.name for layer in weights]), tmp_path, name="half").plan_bytes
    # Four bits and a scale for each block save 1.48 of 2 bytes a weight, less what the kernels differ by; weights that
    # were expanded to 8 bits would save 1 at the most.
    assert half - four > 1.1 * count


def test_an_open_batch_builds_for_a_range(tmp_path):
    settings = EngineSettings(batch=BatchRange(minimum=1, optimum=4, maximum=8), optimization_level=1)
    engine = built(lowered(STRUCTURES["W8A8"]), tmp_path, batch=None, settings=settings)
    assert engine.record.settings == settings


def test_a_layer_without_quantization_builds_in_float16(tmp_path):
    network = lowered(STRUCTURES["W3A5 5x5"])
    names = ("stage1.block1.depthwise", "stage1.block1.expand")
    built(without_quantization(network, names), tmp_path)


def test_progress_and_limits_reach_the_builder(tmp_path):
    events = []
    settings = EngineSettings(workspace_bytes=2**28)
    built(lowered(STRUCTURES["W8A8"]), tmp_path, settings=settings, on_event=events.append)
    started = [event["name"] for event in events if event["event"] == "phase"]
    finished = [event["name"] for event in events if event["event"] == "finish"]
    assert "Building engine" in started
    assert sorted(started) == sorted(finished)
    assert {event["event"] for event in events} >= {"phase", "step", "finish"}


def test_the_record_tells_what_the_plan_is(tmp_path):
    network = lowered(INT4_STRUCTURES["all W4A16"], "t4-int4")
    engine = built(network, tmp_path)
    record = read_record(engine.plan)
    assert record == engine.record
    assert record.tensorrt == VERSION
    assert record.gpu is None
    assert record.plan_sha256 == sha256(engine.plan)
    assert record.onnx_sha256 == sha256(tmp_path / "engine.onnx")
    assert record.metadata == metadata_of(network)
    assert json.loads(record_path(engine.plan).read_text())["format"] == "qedeploy-engine/1"


def test_timings_are_kept_and_a_damaged_cache_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gpu = Gpu(name="NVIDIA Test 1", capability="8.6", multiprocessors=1, memory_bytes=1, cuda="13.0")
    network = lowered(STRUCTURES["W8A8"])
    onnx = write(network, tmp_path / "engine.onnx")

    def build() -> list:
        events: list = []
        build_engine(
            onnx, tmp_path / "engine.plan", version=VERSION, gpu=gpu, metadata=metadata_of(network),
            on_event=events.append,
        )  # fmt: skip
        return [event["text"] for event in events if "text" in event]

    build()
    (cache,) = (tmp_path / "cache").rglob("*.cache")
    assert cache.name == f"nvidia-test-1-tensorrt-{VERSION}.cache"
    kept = cache.read_bytes()
    cache.write_bytes(b"not a cache")
    said = build()
    assert any("timing cache" in text for text in said)
    assert len(cache.read_bytes()) == len(kept)


def test_a_file_that_is_not_onnx_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(RequestError, match=r"model\.onnx: TensorRT .* cannot read this graph: .*parse"):
        build_engine(path, tmp_path / "engine.plan", version=VERSION, gpu=None, metadata=None)
    assert not (tmp_path / "engine.plan").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]
