"""Reading engines: both generations of the inspector's JSON, the join to our layers, lints and the report."""

from __future__ import annotations

import pytest

from qedeploy.bench.attribution.attribution import attribute
from qedeploy.errors import UserError
from qedeploy.network.layers import expand_layers
from qedeploy.runtimes.node_names import Overhead
from qedeploy.runtimes.nvidia.inspector import data_type, read_description
from qedeploy.runtimes.nvidia.join import join
from qedeploy.runtimes.nvidia.messages import layers_of, node_without_kernel, speaks_of_memory
from qedeploy.runtimes.nvidia.report import assemble, engine_findings, engine_warnings
from qedeploy.runtimes.nvidia.runner import network_of, profile_of
from qedeploy.runtimes.nvidia.times import EngineTimes, summarize, time_warnings
from tests.runtimes.tensorrt.engines import engine, model, seconds

SLOW = "stage1.block1.depthwise"


def names(metadata):
    return [layer.name for layer in expand_layers(metadata.structure)]


def rows_of(metadata, document):
    return join(read_description(document, "layers.json"), seconds(document), network_of(metadata))


def times(*, gpu=1.0, enqueue=0.1, upload=0.0, spread=0.0, count=100):
    gpus = [gpu * (1 + spread * (-1) ** index) for index in range(count)]
    columns = {
        "latency": [value + 0.2 for value in gpus], "gpu": gpus, "enqueue": [enqueue] * count,
        "upload": [upload] * count, "download": [0.0] * count,
    }  # fmt: skip
    return summarize(EngineTimes.of_milliseconds(columns, elapsed=0.15, upload_alone=0.3, download_alone=0.01))


@pytest.mark.parametrize("separator", ["\x1e", "\x1f"])
@pytest.mark.parametrize("generation", [10, 11])
def test_both_generations_say_the_same(generation, separator):
    metadata = model()
    document = engine(metadata, generation=generation, slow=SLOW, separator=separator)
    description = read_description(document, "layers.json")
    assert description.generation == generation
    assert description.detailed
    rows = rows_of(metadata, document)
    by_layer = {name: row for row in rows for name in row.layers}
    assert list(by_layer) == names(metadata)
    assert {name for name, row in by_layer.items() if not row.int8} == {SLOW}
    assert by_layer[SLOW].input_type == "float16"
    assert [row.reformat for row in rows].count(True) == 3


def test_an_engine_without_details_still_joins_by_name():
    metadata = model()
    document = engine(metadata, generation=10)
    plain = {"Layers": [layer["Name"] for layer in document["Layers"]], "Bindings": document["Bindings"]}
    description = read_description(plain, "layers.json")
    assert not description.detailed
    rows = join(description, seconds(document), network_of(metadata))
    assert [name for row in rows for name in row.layers] == names(metadata)
    assert {row.input_type for row in rows} == {""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "float16"),
        ("Row major linear FP32", "float32"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("INT8", "int8"),
        ("Int32", "int32"),
        ("FP8", "fp8"),
        ("N/A due to dynamic shapes", ""),
        ("", ""),
    ],
)
def test_types_are_told_from_formats(text, expected):
    assert data_type(text) == expected


@pytest.mark.parametrize(
    "document", [None, [], {}, {"Layers": "none"}, {"Layers": [1]}, {"Layers": [{"LayerType": "x"}]}, "{", "[1]"]
)
def test_what_is_no_engine_description_is_refused(document):
    with pytest.raises(UserError, match=r"layers\.json: "):
        read_description(document, "layers.json")


@pytest.mark.parametrize(
    ("error", "node"),
    [
        (
            "10: [optimizer.cpp::computeCosts::1855] Error Code 10: Internal Error (Could not find any implementation "
            "for node stage1.block1.depthwise.weight.dequantize + stage1.block1.depthwise.)",
            "stage1.block1.depthwise.weight.dequantize + stage1.block1.depthwise",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for "
            "node {ForeignNode[stem.quantize...stage1.block1.add]}.)",
            "{ForeignNode[stem.quantize...stage1.block1.add]}",
        ),
        ("Could not find any implementation for node head", "head"),
    ],
)
def test_the_node_without_a_kernel_is_found(error, node):
    assert node_without_kernel(["something else", error]) == node


def test_a_node_is_charged_to_its_layers():
    layers = ["stem", "stage1.block1.expand", "stage1.block1.depthwise"]
    fused = "stem.weight.dequantize + stem + stem.relu + stage1.block1.expand.quantize"
    assert layers_of(fused, layers) == ("stem",)
    assert layers_of("stage1.block1.expand.quantize", layers) == ("stage1.block1.expand",)
    assert layers_of("{ForeignNode[stem...stage1.block1.depthwise]}", layers) == ("stem", "stage1.block1.depthwise")
    assert layers_of("Reformatting CopyNode", layers) == ()


@pytest.mark.parametrize(
    "text",
    [
        "Error Code 2: OutOfMemory (no further information)",
        "Skipping tactic 3 due to insufficient memory on requested size of 12 detected for tactic 0x1.",
        "Requested amount of GPU memory (17179869184 bytes) could not be allocated.",
        "Try increasing the workspace size with IBuilderConfig::setMemoryPoolLimit().",
    ],
)
def test_want_of_memory_is_not_taken_for_want_of_a_kernel(text):
    assert speaks_of_memory([text])


def test_every_microsecond_goes_to_a_layer_or_an_overhead():
    metadata = model()
    document = engine(metadata, generation=11, slow=SLOW)
    one = {name: value * 1e3 for name, value in seconds(document).items()}
    total = sum(one.values())
    found = {"layers": [one] * 8, "whole": [total * 1.3] * 8, "inside": [total * 1.1] * 8}
    profile, rows = profile_of(found, read_description(document, "layers.json"), metadata)
    attribution = attribute(profile, names(metadata))
    assert attribution.total == pytest.approx(attribution.whole)
    assert len(rows) == len(document["Layers"])
    parts = {part.name: part for part in attribution.layers}
    assert all(parts[name].seconds == pytest.approx(1e-5) for name in names(metadata))
    overheads = {part.name: part for part in attribution.overheads}
    assert overheads[Overhead.LAYOUT].seconds == pytest.approx(15e-6)
    assert overheads[Overhead.POOLING].seconds == pytest.approx(10e-6)


def grouped(metadata, document, times):
    """The attribution of an engine whose layers take `times`, in seconds by the engine's names."""
    one = {name: value * 1e3 for name, value in times.items()}
    found = {"layers": [one] * 8, "whole": [sum(one.values())] * 8, "inside": [sum(one.values())] * 8}
    profile, _ = profile_of(found, read_description(document, "layers.json"), metadata)
    return attribute(profile, names(metadata))


def test_a_kernel_of_several_layers_is_one_row_and_they_have_no_time():
    metadata = model()
    first, second = "stage1.block1.expand", "stage1.block1.depthwise"
    document = {
        "Layers": [
            {"Name": "kgen", "LayerType": "kgen", "Metadata": f"[ONNX Layer: {first}]\x1e[ONNX Layer: {second}]"},
            {"Name": "stem", "LayerType": "conv"},
        ]
    }
    found = grouped(metadata, document, {"kgen": 3e-6, "stem": 1e-6})
    parts = {part.name: part for part in found.layers}
    group = f"{first} to {second} (2 layers together)"
    assert parts[group].layers == (first, second)
    assert parts[group].seconds == pytest.approx(3e-6)
    assert parts["stem"].seconds == pytest.approx(1e-6)
    # Nobody can tell their own times, nor those of layers that no kernel names.
    assert {name for name, part in parts.items() if part.seconds is None} == set(names(metadata)) - {"stem"}
    assert list(parts).index(group) == list(parts).index(first) - 1
    assert found.total == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("region", "start", "stop"),
    [
        ("{ForeignNode[stem.weight.dequantize...classifier]}", 0, None),
        ("{ForeignNode[image.cast...stage1.block1.project]}", 0, "stage1.block1.project"),
        ("ForeignNode[stage1.block1.expand...stage2.block1.expand]", "stage1.block1.expand", "stage2.block1.expand"),
        ("{ForeignNode[(Unnamed Layer* 3) [Shuffle] + head.weight.dequantize...logits]}", "head", None),
        ("{ForeignNode[stage1.block1.add...pool]}", "stage2.block1.expand", "head"),
    ],
)  # fmt: skip
def test_a_region_is_everything_between_its_ends(region, start, stop):
    metadata = model()
    order = names(metadata)
    first = 0 if start == 0 else order.index(start)
    expected = order[first : len(order) if stop is None else order.index(stop) + 1]
    rest = [name for name in order if name not in expected]
    rows = join(None, {region: 5e-6, **dict.fromkeys(rest, 1e-6)}, network_of(metadata))
    assert rows[0].layers == tuple(expected)
    assert [row.layers for row in rows[1:]] == [(name,) for name in rest]


def test_a_region_leaves_out_what_other_kernels_compute():
    metadata = model()
    order = names(metadata)
    rows = join(None, {"{ForeignNode[stem...classifier]}": 5e-6, order[2]: 1e-6}, network_of(metadata))
    assert rows[0].layers == tuple(name for name in order if name != order[2])


@pytest.mark.parametrize("profile", [0, 1, 7])
def test_an_engine_of_several_optimisation_profiles_joins_the_one_that_was_timed(profile):
    metadata = model()
    order = names(metadata)
    suffix = "" if profile == 0 else f" [profile {profile}]"
    document = {
        "Layers": [
            {"Name": name + each, "LayerType": "conv"}
            for each in ("", " [profile 1]", " [profile 7]")
            for name in order
        ]
    }
    times = {name + suffix: 5e-5 for name in order}
    for description in (None, read_description(document, "layers.json")):
        rows = join(description, times, network_of(metadata))
        assert [(row.layers, row.seconds) for row in rows] == [((name,), 5e-5) for name in order]


@pytest.mark.parametrize("separator", [" + ", " || "])
def test_layers_side_by_side_are_a_group(separator):
    metadata = model()
    first, second = names(metadata)[1:3]
    rows = join(None, {f"PWN({first}.relu){separator}{second}{separator}{first}": 1e-6}, network_of(metadata))
    assert rows[0].layers == (first, second)


def test_the_report_answers_what_users_ask():
    metadata = model()
    document = engine(metadata, generation=11, slow=SLOW)
    rows = rows_of(metadata, document)
    report = assemble(times=times(), rows=rows, metadata=metadata, dropped=(), conditions=None, notes=())
    assert [item.name for item in report.missed] == [SLOW]
    assert "float16" in report.missed[0].reason
    assert report.reformats == 3
    assert report.reformat_seconds == pytest.approx(15e-6)
    macs = {layer.name: layer.macs for layer in expand_layers(metadata.structure)}
    assert report.int8_mac_share == pytest.approx(1 - macs[SLOW] / sum(macs.values()))
    assert 0 < report.int8_time_share < 1
    said = " ".join(engine_findings(report))
    for expected in ("GPU time 1.000 ms", "INT8 layers take", "3 reformats take 15.0 us", SLOW):
        assert expected in said


def test_a_dropped_layer_has_its_reason():
    metadata = model()
    rows = rows_of(metadata, engine(metadata, generation=11, slow=SLOW))
    report = assemble(times=times(), rows=rows, metadata=metadata, dropped=(SLOW,), conditions=None, notes=())
    assert "no INT8 kernel on this GPU" in report.missed[0].reason


def test_lints():
    metadata = model()
    document = engine(metadata, generation=10, slow=SLOW)
    half = {"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
    by_name = {layer["Name"]: layer for layer in document["Layers"]}
    expand = by_name["stage2.block2.expand.weight.dequantize + stage2.block2.expand + stage2.block2.expand.relu"]
    expand["Outputs"][0] |= half
    expand["TacticName"] = "generic_conv"
    document["Layers"].append({
        "Name": "head.quantize", "LayerType": "Scale", "Metadata": "[ONNX Layer: head.quantize]",
        "Inputs": [half], "Outputs": [{"Format/Datatype": "Int8"}],
    })  # fmt: skip
    document["Layers"].append({
        "Name": "lonely", "LayerType": "PointWise", "Metadata": "[ONNX Layer: stage1.block1.add]",
        "Inputs": [{"Format/Datatype": "Row major linear FP32"}], "Outputs": [half],
    })  # fmt: skip
    rows = rows_of(metadata, document)
    lints = assemble(times=times(), rows=rows, metadata=metadata, dropped=(), conditions=None, notes=()).lints
    for expected in (
        "stage2.block2.expand: INT8 in and floating point out",
        "stage2.block2.expand (generic_conv): kernels that use no tensor cores",
        "head.quantize as kernels of their own",
        "lonely in float32",
        "lonely: residual adds that fused with no convolution",
        "reformats that change the type",
    ):
        assert any(expected in lint for lint in lints), expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (times(gpu=0.1, enqueue=0.09), "Enqueue-bound"),
        (times(upload=1.5), "Transfer-bound"),
        (times(gpu=0.2), "Transfer-bound"),
        (times(spread=0.1), "unstable"),
    ],
)
def test_what_limits_a_run_is_said(found, expected):
    assert any(expected in text for text in time_warnings(found, cuda_graph=False))


def test_a_good_run_warns_of_nothing():
    assert time_warnings(times(), cuda_graph=True) == ()
    metadata = model()
    report = assemble(
        times=times(), rows=rows_of(metadata, engine(metadata, generation=11)), metadata=metadata, dropped=(),
        conditions=None, notes=("A note.",),
    )  # fmt: skip
    assert engine_warnings(report, {"cuda_graph": "on"}) == ("A note.",)
    assert report.missed == ()
    assert report.int8_mac_share == 1.0
