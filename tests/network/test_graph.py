"""Graphs: what holds of every one, what is refused, and what a file says of one."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from qedeploy.errors import UserError
from qedeploy.network.graph import Graph, GraphError, structure_graph
from qedeploy.network.graph_file import from_document, to_document
from qedeploy.network.layers import Dimensions, Layer, LayerKind, Position, convolution_kind, expand_layers
from qedeploy.network.operations import IMAGE, Operation, OperationKind, consumers
from qedeploy.network.padding import padded_channels, padded_widths
from qedeploy.network.shortcuts import shortcuts
from qedeploy.network.structure import Bits
from qedeploy.network.window import Window
from tests.export.any_graph import any_graph, convolution
from tests.network.structures import structures

sizes = st.integers(1, 9)
windows = st.builds(
    Window,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(2, 3)] * 4),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)


@st.composite
def graphs(draw) -> Graph:
    """Convolutions of any window, each of an earlier value, with additions where two values have the same sizes."""
    made: dict[str, Dimensions] = {IMAGE: (draw(st.integers(1, 4)), draw(sizes), draw(sizes))}
    steps: list[Operation] = []
    for number in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(sorted(made)))
        groups = draw(st.sampled_from([1, made[source][0]]))
        channels = groups * draw(st.integers(1, 3))
        steps.append(convolution(f"c{number}", source, made[source], channels, draw(windows), groups=groups))
        made[steps[-1].name] = steps[-1].output
        twins = [name for name in made if made[name] == made[steps[-1].name] and name != steps[-1].name]
        if twins:
            step = Operation(
                name=f"a{number}",
                kind=OperationKind.ADD,
                inputs=(steps[-1].name, draw(st.sampled_from(twins))),
                input=steps[-1].output,
                output=steps[-1].output,
            )
            steps.append(step)
            made[step.name] = step.output
    return Graph(input=made[IMAGE], operations=tuple(steps))


@given(st.one_of(graphs(), structures().map(structure_graph)))
def test_every_value_is_made_before_it_is_read_and_sizes_chain(graph):
    made = {IMAGE: graph.input}
    for step in graph.operations:
        assert set(step.inputs) <= set(made)
        assert step.name not in made
        assert step.input == made[step.inputs[0]]
        if step.layer is not None:
            assert (step.layer.input, step.layer.output) == (step.input, step.output)
        made[step.name] = step.output
    assert graph.output == step.output
    assert sum(graph.reads().values()) == sum(len(step.inputs) for step in graph.operations)
    layers = {layer.name for layer in graph.layers}
    assert set(consumers(graph.operations).values()) <= layers
    assert {cut.layer.name for cut in shortcuts(graph)} <= layers


@given(st.one_of(graphs(), structures().map(structure_graph)))
def test_a_document_reads_back_equal(graph):
    document = json.loads(json.dumps(to_document(graph)))
    assert from_document(document, "graph") == dataclasses.replace(graph, structure=None)


@given(graphs(), st.data())
def test_operations_in_another_order_are_refused_where_one_reads_what_is_made_later(graph, data):
    order = data.draw(st.permutations(graph.operations))
    seen, fits = {IMAGE}, True
    for step in order:
        fits = fits and set(step.inputs) <= seen
        seen.add(step.name)
    if fits:
        assert Graph(input=graph.input, operations=tuple(order)).reads() == graph.reads()
    else:
        with pytest.raises(GraphError, match="expected inputs that were made before it"):
            Graph(input=graph.input, operations=tuple(order))


@given(windows, sizes, sizes, st.integers(1, 3))
def test_windows_make_the_sizes_that_pytorch_makes(window, height, width, channels):
    layer = Layer(
        name="x",
        kind=convolution_kind(window, channels, 1),
        input=(channels, height, width),
        out_channels=2,
        bits=Bits(weight=8, activation=8),
        window=window,
    )
    top, left, bottom, right = window.padding
    image = functional.pad(torch.zeros(1, *layer.input), (left, right, top, bottom))
    found = functional.conv2d(image, torch.zeros(layer.weight_shape), stride=window.stride, dilation=window.dilation)
    assert layer.output == tuple(found.shape[1:])
    assert layer.macs == found.numel() * layer.weight_count // 2


@given(structures())
def test_a_structure_keeps_its_layers_and_its_name(structure):
    graph = structure_graph(structure)
    assert graph.layers == expand_layers(structure)
    assert graph.structure == structure
    assert graph.input == structure.image_sizes
    assert [layer.position for layer in graph.layers if layer.position is not None] == list(Position)
    assert graph.with_bits({"stem": Bits(weight=3, activation=3)}).structure is None


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("left", {"name": "features_1"}, "features_1: expected a name of its own"),
        ("sum", {"inputs": ()}, "sum: expected inputs that were made before it, found none"),
        ("sum", {"inputs": ("left", "image")}, "sum: expected two values of the sizes that it makes, 16x24x32"),
        ("down", {"input": (16, 24, 31)}, "down: reads sum as 16x24x31, made as 16x24x32"),
        ("down", {"output": (16, 12, 15)}, "down: its layer down reads 16x24x32 and makes 16x12x16"),
        ("down", {"layer": None}, "down: expected a layer for a convolution and a linear"),
        ("down", {"kind": OperationKind.LINEAR}, "down: a linear has a layer of kind depthwise"),
    ],
)
def test_what_is_no_network_is_refused(name, changes, message):
    graph = any_graph()
    steps = tuple(dataclasses.replace(step, **changes) if step.name == name else step for step in graph.operations)
    with pytest.raises(GraphError, match=message):
        Graph(input=graph.input, operations=steps)


def test_a_stem_is_alone_in_reading_the_image():
    first = convolution("first", IMAGE, (3, 8, 8), 4)
    stem = dataclasses.replace(first, layer=dataclasses.replace(first.layer, position=Position.STEM))
    other = convolution("other", IMAGE, (3, 8, 8), 4)
    assert Graph(input=(3, 8, 8), operations=(stem,)).layers[0].category == "stem"
    with pytest.raises(GraphError, match="first: a stem is alone in reading its input"):
        Graph(input=(3, 8, 8), operations=(stem, other))


def test_a_damaged_document_names_its_field():
    document = json.loads(json.dumps(to_document(any_graph())))
    document["operations"][1]["layer"]["window"]["kernel"] = [3]
    with pytest.raises(UserError, match=r"graph: operations\[1\]\.layer\.window\.kernel"):
        from_document(document, "graph")


def test_only_what_nothing_else_reads_is_padded():
    """The channels of a depthwise layer grow with its neighbours', unless a third layer reads one of the values."""

    def inner(shared: bool) -> Graph:
        expand = convolution("b.expand", IMAGE, (3, 8, 8), 6)
        depthwise = convolution("b.depthwise", "b.expand", expand.output, 6, Window.square(3, 1), groups=6)
        project = convolution("b.project", "b.depthwise", depthwise.output, 5)
        third = convolution("third", "b.expand", expand.output, 5)
        steps = (expand, depthwise, project, third) if shared else (expand, depthwise, project)
        return Graph(input=(3, 8, 8), operations=steps)

    widths = padded_widths(inner(False), 4)
    assert widths == {"b.expand": 8, "b.depthwise": 8}
    channels = padded_channels(inner(False), widths)
    assert channels == {"b.expand": (3, 8), "b.depthwise": (8, 8), "b.project": (8, 5)}
    assert padded_widths(inner(False), 3) == {}
    assert padded_widths(inner(True), 4) == {}
    assert any_graph().layers[3].kind is LayerKind.DEPTHWISE
    assert padded_widths(any_graph(), 3) == {}
