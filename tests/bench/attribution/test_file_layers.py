"""Profiled nodes of files that are not ours find their layers."""

from __future__ import annotations

import pytest

from qedeploy import api
from qedeploy.bench.attribution.attribution import attribute
from qedeploy.bench.attribution.file_layers import file_estimates, file_findings, with_owners
from qedeploy.export.onnx_networks.layer_table import FileLayer, FileLayers
from qedeploy.network.layer_use import LayerUse
from qedeploy.network.layers import Layer, LayerCategory, LayerKind
from qedeploy.network.structure import Bits
from qedeploy.runtimes.node_names import ONNX_OVERHEADS, NodeNames
from qedeploy.runtimes.runner import NodeTime, ProfiledRun
from tests.export.onnx_networks.networks import mobile_network, write

NAMES = NodeNames(overheads=ONNX_OVERHEADS, added=r"(_token_\d+|_nchwc)+$", integer=("QLinear", "QGemm", "Integer"))


def layer(name, *, quantized=False, obstacle=None):
    # 10 weights, 1,000 products of 100 pixels, which read 1 and make 10 numbers each.
    bits = Bits(weight=8, activation=8) if quantized else Bits(weight=16, activation=16)
    found = Layer(name=name, kind=LayerKind.POINTWISE, input=(1, 10, 10), out_channels=10, bits=bits)
    return FileLayer(use=LayerUse(layer=found), quantized=quantized, obstacle=obstacle)


def profile(*nodes):
    times = tuple(NodeTime(name=name, op_type=operator, seconds=seconds) for name, operator, seconds in nodes)
    whole = sum(node.seconds for node in times)
    return ProfiledRun(nodes=times, inside=whole, whole=whole, queries=3, names=NAMES)


def test_fused_nodes_are_their_layers_and_the_sum_is_kept():
    layers = FileLayers(layers=(layer("a"), layer("b")), owners={"a": "a", "a.bn": "a", "b": "b", "b.relu": "b"})
    found = with_owners(
        profile(
            ("a.bn_nchwc", "Conv", 1.0),
            ("b.relu_token_3", "QLinearConv", 2.0),
            ("x", "Mul", 0.5),
            ("a", "Relu", 0.25),
        ),
        layers,
    )
    attribution = attribute(found, ["a", "b"])
    assert {part.name: part.seconds for part in attribution.layers} == {"a": 1.0, "b": 2.0}
    assert attribution.total == pytest.approx(3.75)


def test_nodes_without_names_are_paired_in_order_where_there_are_as_many():
    layers = FileLayers(layers=(layer("a"), layer("b")), owners={"a": "a", "b": "b"})
    found = with_owners(profile(("Conv_0", "Conv", 1.0), ("Conv_7", "Conv", 2.0)), layers)
    assert [node.layers for node in found.nodes] == [("a",), ("b",)]
    odd = with_owners(profile(("Conv_0", "Conv", 1.0), ("", "Conv", 2.0), ("", "Conv", 2.0)), layers)
    assert [node.layers for node in odd.nodes] == [(), (), ()]


def test_costs_count_the_widths_that_the_nodes_show_and_findings_say_what_misses_integers():
    missing = layer("b", quantized=True, obstacle="its input is not quantized")
    layers = FileLayers(
        layers=(layer("a", quantized=True), missing, layer("c")),
        owners={"a": "a", "b": "b", "c": "c"},
    )
    found = with_owners(profile(("a", "QLinearConv", 1.0), ("b", "Conv", 2.0), ("c", "Gemm", 1.0)), layers)
    attribution = attribute(found, ["a", "b", "c"])
    first, second, third = file_estimates(layers, attribution, NAMES)
    assert (first.nominal_bitops, first.executed_bitops, first.lowering) == (64e3, 64e3, "int8")
    assert (second.nominal_bitops, second.executed_bitops, second.lowering) == (64e3, 1024e3, "float32")
    assert (third.nominal_bitops, third.nominal, third.executed) == (1024e3, None, None)
    assert first.bytes_moved == 100 + 10 * 100 + 10
    assert third.bytes_moved == 4 * first.bytes_moved
    findings = file_findings(layers, attribution, NAMES)
    assert findings[0] == "1 of 2 quantized layers run in integers."
    assert findings[1] == "Not in integers: b: its input is not quantized."
    plain = FileLayers(layers=(layer("c"),), owners={"c": "c"})
    assert file_findings(plain, attribution, NAMES) == ()


def test_bench_shows_the_layers_of_a_float_file_of_any_maker(tmp_path):
    path = write(mobile_network(), tmp_path)
    measured = api.bench(path, seconds=0.02, warm_up=0, twins=False, shapes=["image=1x3x32x48"]).result
    rows = {row.name: row for row in measured.profiled.layers}
    assert list(rows) == ["stem", "expand", "depthwise", "project", "head", "linear.product"]
    assert rows["stem"].macs == 16 * 27 * 16 * 24
    assert all(row.seconds and row.lowering == "float32" for row in rows.values())
    assert rows["depthwise"].kind == LayerCategory.DEPTHWISE
    assert measured.totals.nominal_bitops == sum(row.macs or 0 for row in rows.values()) * 1024
    assert not any("integers" in finding for finding in measured.findings)
