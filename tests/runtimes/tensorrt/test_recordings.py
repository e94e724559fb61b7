"""`qedeploy bench` of plans and of what trtexec recorded, through the console script, on a machine without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.errors import MissingRuntimeError, RequestError, UserError
from qedeploy.files import sha256
from qedeploy.runtimes.nvidia.machine import Gpu, TensorrtMachine, _unsuitable
from qedeploy.runtimes.nvidia.product import TENSORRT
from qedeploy.runtimes.nvidia.record import EngineRecord, read_record, write_record
from qedeploy.runtimes.nvidia.refusals import refusal
from qedeploy.runtimes.nvidia.report import read_figures
from qedeploy.runtimes.nvidia.runner import TensorRTRunner
from qedeploy.runtimes.nvidia.settings import BatchRange, EngineSettings
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.tensorrt.trtexec import read_recording
from tests.cli.console import qedeploy
from tests.runtimes.tensorrt.engines import engine, model, seconds
from tests.tensorrt_cpu.models import lowered, structure, write

QUERIES = 200
T4 = Gpu(name="Tesla T4", capability="7.5", multiprocessors=40, memory_bytes=16 * 2**30, cuda="13.0")
L4 = Gpu(name="NVIDIA L4", capability="8.9", multiprocessors=58, memory_bytes=24 * 2**30, cuda="13.0")


def record_run(folder: Path, *, generation: int = 11) -> Path:
    """The files that trtexec exports, with the model they are of; synthesised, see engines.py."""
    folder.mkdir()
    document = engine(model(), generation=generation, slow="stage1.block1.depthwise")
    times = seconds(document)
    total = sum(times.values()) * 1e3
    generator = np.random.default_rng(0)
    rows, now = [], 0.0
    for _ in range(QUERIES):
        compute = total * (1 + 0.003 * generator.standard_normal())
        marks = {
            "startEnqMs": now, "endEnqMs": now + 0.01, "startH2dMs": now, "endH2dMs": now, "startComputeMs": now,
            "endComputeMs": now + compute, "startD2hMs": now + compute, "endD2hMs": now + compute,
        }  # fmt: skip
        rows.append({**marks, "h2dMs": 0, "computeMs": compute, "d2hMs": 0, "latencyMs": compute})
        now += compute
    profile = [{"name": name, "timeMs": 0.0, "averageMs": value * 1e3, "medianMs": 0.0, "percentage": 0.0}
               for name, value in times.items()]  # fmt: skip
    (folder / "times.json").write_text(json.dumps(rows))
    (folder / "profile.json").write_text(json.dumps([{"count": QUERIES}, *profile]))
    (folder / "layers.json").write_text(json.dumps(document))
    write(lowered(structure(bottleneck=48)), folder / "model.onnx")
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return record_run(tmp_path / "run")


@pytest.mark.parametrize("generation", [10, 11])
def test_a_recording_is_reported_like_a_measurement(generation, tmp_path):
    folder = record_run(tmp_path / "run", generation=generation)
    done = qedeploy("bench", "--from-trtexec", folder, "--fail-if", "p50>1ms")
    assert done.returncode == 0, done.stderr
    for expected in (
        "TensorRT", "planned as INT8 and not running so", "reformats", "INT8 layers take", "stage1.block1.depthwise",
        "Recorded by trtexec",
    ):  # fmt: skip
        assert expected in done.stdout
    result = read_result(folder / "bench.json")
    assert result.summary.queries == QUERIES
    assert result.engine is not None
    assert [item["name"] for item in result.engine["missed"]] == ["stage1.block1.depthwise"]
    assert result.totals is not None
    assert sum(row.seconds or 0.0 for row in result.profiled.layers) == pytest.approx(120e-6)
    report = (folder / "report.html").read_text()
    assert "What TensorRT tells" in report
    assert "int8 -&gt; int8" in report
    # What a recording does not tell is not made up.
    assert "query in flight" not in report.replace("two queries may be in flight", "")
    assert "random values" not in report
    assert "usable cores" not in done.stdout


def test_a_recording_alone_is_reported_with_what_is_missing(recording):
    (recording / "model.onnx").unlink()
    (recording / "layers.json").unlink()
    done = qedeploy("bench", "--from-trtexec", recording)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "cannot be joined to its times" in said
    assert "--exportLayerInfo" in said


def test_a_document_of_before_sections_is_read(recording):
    assert qedeploy("bench", "--from-trtexec", recording).returncode == 0
    path = recording / "bench.json"
    now = read_result(path)
    document = json.loads(path.read_text())
    assert [section["title"] for section in document.pop("sections")] == [
        "Queries of the engine",
        "Layers of the engine: what computed ours, and what else ran",
        "Planned as INT8, running otherwise",
    ]
    path.write_text(json.dumps(document))
    before = read_result(path)
    assert before.sections == ()
    assert read_figures(before.engine, "bench.json") == read_figures(now.engine, "bench.json")
    with pytest.raises(UserError, match=r"bench.json: times: expected this key"):
        read_figures({key: value for key, value in document["engine"].items() if key != "times"}, "bench.json")


def damage(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def rewrite_profile(folder: Path, change) -> None:
    count, *rows = json.loads((folder / "profile.json").read_text())
    (folder / "profile.json").write_text(json.dumps([count, *map(change, rows)]))
    (folder / "layers.json").unlink()


def rewrite_times(folder: Path, change) -> None:
    rows = json.loads((folder / "times.json").read_text())
    (folder / "times.json").write_text(json.dumps(list(map(change, rows))))


BAD = {
    "no files": (lambda folder: [item.unlink() for item in folder.glob("*.json")], "expected query times"),
    "no profile": (lambda folder: (folder / "profile.json").unlink(), "expected a profile"),
    "cut short": (lambda folder: damage(folder, "times.json", '[{"computeMs": 1'), "times.json: not valid JSON"),
    "other keys": (
        lambda folder: damage(folder, "times.json", '[{"computeMs": 1}]'),
        "times.json: query 1: latencyMs: expected",
    ),
    "two runs": (
        lambda folder: (folder / "again.json").write_bytes((folder / "times.json").read_bytes()),
        "found again.json, times.json",
    ),
    "no names": (
        lambda folder: damage(folder, "profile.json", '[{"count": 3}, {}]'),
        "profile.json: expected a layer with a name",
    ),
    "another engine": (
        lambda folder: damage(folder, "layers.json", '{"Layers": ["a", "b"]}'),
        "profile.json: of another engine than the layer information beside it",
    ),
    "another network": (
        lambda folder: rewrite_profile(folder, lambda row: row | {"name": f"Conv_{len(row['name'])} + Relu_1"}),
        "profile.json: of another network than the model beside it: none of its",
    ),
    "no time at all": (
        lambda folder: rewrite_profile(folder, lambda row: row | {"averageMs": 0}),
        "layers takes any time",
    ),
    "TensorRT 7": (
        lambda folder: rewrite_times(folder, lambda row: {"startInMs": 0, "inMs": 0, "computeMs": 1, "endToEndMs": 2}),
        "times.json: the times of TensorRT 7 or older (startInMs, inMs, endToEndMs)",
    ),
    "no layers": (lambda folder: damage(folder, "layers.json", '{"Layers": [1]}'), "layers.json: expected each"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_recording_is_one_line(case, recording):
    change, expected = BAD[case]
    change(recording)
    done = qedeploy("bench", "--from-trtexec", recording)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def rows_of_profile(folder: Path) -> list[dict]:
    return json.loads((folder / "profile.json").read_text())[1:]


def profile_alone(folder: Path, rows: list[dict]) -> None:
    (folder / "layers.json").unlink(missing_ok=True)
    damage(folder, "profile.json", json.dumps([{"count": QUERIES}, *rows]))


def test_a_time_of_nothing_is_no_measurement_and_what_was_not_measured_has_no_row(recording):
    rows = rows_of_profile(recording)
    silent = next(row for row in rows if row["name"].startswith("stage1.block1.depthwise"))
    silent["averageMs"] = 0.0
    profile_alone(recording, rows)
    assert qedeploy("bench", "--from-trtexec", recording).returncode == 0
    profiled = read_result(recording / "bench.json").profiled
    assert profiled.untimed == ("stage1.block1.depthwise",)
    # No clock of trtexec's runs outside the layers.
    assert not {"runtime between nodes", "call into the runtime", "interruptions"} & {
        part.name for part in profiled.overheads
    }
    assert profiled.total == pytest.approx(sum(row["averageMs"] for row in rows) * 1e-3)


def test_the_same_layer_in_two_optimisation_profiles_is_no_run(recording):
    rows = rows_of_profile(recording)
    again = {**rows[2], "name": f"{rows[2]['name']} [profile 1]"}
    profile_alone(recording, [*rows, again])
    done = qedeploy("bench", "--from-trtexec", recording)
    assert done.returncode == 2
    assert "the optimisation profiles 0 and 1" in done.stderr
    profile_alone(recording, [*rows, {**again, "averageMs": 0.0}])
    assert qedeploy("bench", "--from-trtexec", recording).returncode == 0


def test_a_region_between_names_that_nobody_knows_is_what_no_other_kernel_computes(recording):
    stem = next(row for row in rows_of_profile(recording) if row["name"].startswith("stem"))
    region = {"name": "{ForeignNode[__mye1...(Unnamed Layer* 9) [Shuffle]]}", "averageMs": 0.1}
    profile_alone(recording, [stem, region])
    assert qedeploy("bench", "--from-trtexec", recording).returncode == 0
    rows = read_result(recording / "bench.json").profiled.layers
    together = [row for row in rows if row.layers]
    assert [row.seconds for row in together] == [pytest.approx(1e-4)]
    assert set(together[0].layers) == {row.name for row in rows if row.seconds is None}
    assert len(rows) == len(together[0].layers) + 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, "0.5", None, True, [1], 1e12])
@pytest.mark.parametrize("key", ["latencyMs", "computeMs", "h2dMs", "d2hMs", "startEnqMs", "endEnqMs", "endD2hMs"])
def test_times_that_are_no_times_are_named_by_query_and_key(key, value, recording):
    rows = json.loads((recording / "times.json").read_text())
    rows[3][key] = value
    (recording / "times.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=rf"times\.json: query 4: {key}: expected"):
        read_recording(recording)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), -1e-9, "0.5", None, False, {}])
def test_means_that_are_no_times_are_named_by_layer(value, recording):
    rows = json.loads((recording / "profile.json").read_text())
    rows[2]["averageMs"] = value
    (recording / "profile.json").write_text(json.dumps(rows))
    with pytest.raises(UserError) as caught:
        read_recording(recording)
    assert f"profile.json: {rows[2]['name']}: averageMs: expected" in str(caught.value)


@pytest.mark.parametrize("count", [0, -3, 2.5, "200", None, True])
def test_a_count_that_is_none_is_named(count, recording):
    rows = json.loads((recording / "profile.json").read_text())
    (recording / "profile.json").write_text(json.dumps([{"count": count}, *rows[1:]]))
    with pytest.raises(UserError, match=r"profile\.json: count: expected how many queries"):
        read_recording(recording)


@pytest.mark.parametrize("name", [3, None, "", "  ", ["stem"]])
def test_a_name_that_is_none_is_named(name, recording):
    rows = json.loads((recording / "profile.json").read_text())
    rows[1]["name"] = name
    (recording / "profile.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"profile\.json: expected a layer with a name"):
        read_recording(recording)


@pytest.mark.parametrize("dimensions", ["1x3", [1, "3"], [None], [1.5], {"a": 1}, 7])
def test_dimensions_that_are_none_are_named(dimensions, recording):
    document = json.loads((recording / "layers.json").read_text())
    document["Layers"][1]["Inputs"][0]["Dimensions"] = dimensions
    (recording / "layers.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"layers\.json: .*Dimensions: expected whole numbers"):
        read_recording(recording)


@pytest.mark.parametrize("suffix", [".txt", ".log", "", ".JSON", ".profile"])
def test_files_are_found_by_content_whatever_they_are_called(suffix, recording):
    expected = read_recording(recording)
    for name in ("times", "profile", "layers"):
        (recording / f"{name}.json").rename(recording / f"my-{name}{suffix}")
    (recording / "trtexec.log").write_text(
        "&&&& RUNNING TensorRT.trtexec\n[I] Average on 10 runs - GPU latency: 1 ms\n"
    )
    (recording / "notes.md").write_text("[link](x)")
    found = read_recording(recording)
    assert found.source.name == f"my-times{suffix}"
    assert dict(found.profile) == dict(expected.profile)
    assert np.array_equal(found.times.gpu, expected.times.gpu)
    assert found.description == expected.description


def test_copies_are_not_taken_for_a_slow_run(recording):
    rewrite_times(recording, lambda row: row | {"h2dMs": 0.6, "d2hMs": 0.1, "latencyMs": row["computeMs"] + 0.7})
    done = qedeploy("bench", "--from-trtexec", recording)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "other programs" not in said
    assert "1.00x the GPU time without the profiler" in said
    assert "mean time, as trtexec has it" in said
    assert "middle half" not in said + (recording / "report.html").read_text()


@pytest.mark.parametrize("name", ["missing", "model.onnx"])
def test_what_is_no_folder_is_one_line(name, recording):
    done = qedeploy("bench", "--from-trtexec", recording / name)
    assert done.returncode == 2
    assert f"{name}: expected a folder with trtexec's files" in done.stderr


def test_a_recording_is_not_compared_with_what_runs_here(recording):
    done = qedeploy("bench", "--from-trtexec", recording, "--against", recording / "model.onnx")
    assert done.returncode == 2
    assert "--against" in done.stderr


def plan_with_record(folder: Path, **changes: object) -> Path:
    plan = folder / "engine.plan"
    plan.write_bytes(b"not really a plan, which only its own machine can tell")
    metadata = model()
    values = {
        "tensorrt": "11.4.0.106", "gpu": T4, "plan_sha256": sha256(plan), "onnx": "model.onnx", "onnx_sha256": "0" * 64,
        "settings": EngineSettings(), "profile": "t4-int8", "structure": metadata.structure, "lowering": metadata.plan,
    }  # fmt: skip
    write_record(EngineRecord(**{**values, **changes}), plan)
    return plan


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), (None, "cannot be read"), (b"a foreign plan", "cannot be measured here")],
)
def test_a_bad_plan_is_one_line(content, expected, tmp_path):
    plan = tmp_path / "engine.plan"
    if content is not None:
        plan.write_bytes(content)
    done = qedeploy("bench", plan)
    assert done.returncode == (4 if "here" in expected else 2)
    assert done.stderr.count("\n") == 1
    assert f"{plan}: {expected}" in done.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda plan: plan.write_bytes(plan.read_bytes()[:9]), "not the plan that engine.json describes"),
        (lambda plan: plan.with_suffix(".json").write_text("{"), "engine.json: not valid JSON"),
        (lambda plan: plan.with_suffix(".json").write_text("{}"), "engine.json: expected format"),
        (
            lambda plan: plan.with_suffix(".json").write_text('{"format": "qedeploy-engine/1", "gpu": 3}'),
            "engine.json: tensorrt: expected this key",
        ),
    ],
)
def test_a_plan_that_its_record_does_not_fit_is_one_line(change, expected, tmp_path):
    plan = plan_with_record(tmp_path)
    change(plan)
    done = qedeploy("bench", plan)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (TensorrtMachine(tensorrt="10.16.1.11", gpu=T4), "built by TensorRT 11.4.0.106, this machine has 10.16.1.11"),
        (
            TensorrtMachine(tensorrt="11.4.0.106", gpu=L4),
            "built for Tesla T4 (compute capability 7.5), this machine has NVIDIA L4 (compute capability 8.9)",
        ),
        (TensorrtMachine(tensorrt=None, gpu=L4, lacks_tensorrt="TensorRT 10.3 is too old"), "TensorRT 10.3 is too old"),
    ],
)
def test_a_plan_of_another_machine_is_refused_before_it_is_loaded(machine, expected, tmp_path):
    plan = plan_with_record(tmp_path)
    with pytest.raises(MissingRuntimeError) as caught, TensorRTRunner(plan, RunnerOptions(), look=lambda: machine):
        pass
    assert expected in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_record_comes_back_as_it_was(tmp_path):
    settings = EngineSettings(batch=BatchRange.parse("1:4:8"), workspace_bytes=2**30, optimization_level=5)
    plan = plan_with_record(tmp_path, settings=settings, dropped=("stem",), engine_layers={"Layers": ["a"]})
    record = read_record(plan)
    assert record is not None
    assert record.settings == settings
    assert record.gpu == T4
    assert record.dropped == ("stem",)
    assert record.metadata == model()


@pytest.mark.parametrize(
    ("said", "kind", "expected"),
    [
        (
            "The engine plan file is not compatible with this version of TensorRT, expecting library version 11.4.0.106"
            " got 10.16.1.11, please rebuild.",
            MissingRuntimeError,
            "built by TensorRT 10.16.1.11, this machine has 11.4.0.106",
        ),
        (
            "The engine plan file is generated on an incompatible device, expecting compute 7.5 got compute 8.9,"
            " please rebuild.",
            MissingRuntimeError,
            "built for compute capability 8.9, this GPU has 7.5",
        ),
        (
            "current device only supports 40 multiprocessors but the engine file requires 108",
            MissingRuntimeError,
            "built for another GPU",
        ),
        ("Platform specific tag mismatch detected.", MissingRuntimeError, "another GPU"),
        ("TensorRT plan major version does not match runtime major version", MissingRuntimeError, "another TensorRT"),
        ("Serialization assertion plan.header.size == blobSize failed.", UserError, "cut short"),
        ("Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.", UserError, "not a TensorRT plan"),
        ("Cannot deserialize with an empty memory buffer", UserError, "cut short"),
        ("Error Code 2: OutOfMemory (no further information)", RequestError, "out of GPU memory"),
        ("something new", UserError, "does not load it: something new"),
    ],
)
def test_refusals_of_the_loader_have_their_reason_and_code(said, kind, expected):
    error = refusal(Path("engine.plan"), [said], "11.4.0.106")
    assert type(error) is kind
    assert str(error).startswith("engine.plan: ")
    assert expected in str(error)
    other = str(refusal(Path("engine.plan"), [said], "1.7.1.116", "TensorRT for RTX"))
    assert other.count("TensorRT") == other.count("TensorRT for RTX")


def test_gpus_that_tensorrt_has_left_behind_are_named():
    volta = Gpu(name="Tesla V100", capability="7.0", multiprocessors=80, memory_bytes=1, cuda="13.0")
    assert "older than Turing" in _unsuitable(volta, TENSORRT)[0]
    assert _unsuitable(T4, TENSORRT) == []


@pytest.mark.parametrize("text", ["", "0", "2:1:3", "1:2", "many", "1:2:3:4", "-1"])
def test_a_batch_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="batch: expected"):
        BatchRange.parse(text)


@pytest.mark.parametrize(("text", "static"), [("4", 4), ("1:4:8", None)])
def test_batches(text, static):
    batch = BatchRange.parse(text)
    assert batch.static == static
    assert str(batch) == text
