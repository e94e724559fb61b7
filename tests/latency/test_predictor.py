"""Reading between the points of a table that follows a law."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qedeploy.errors import RequestError
from qedeploy.latency.predictor import LatencyModel, Role
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Calibration, Part, TablePoint
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.published import find_published
from qedeploy.network.structure import Bits, Block, Classifier, Convolution, Stage, Structure
from qedeploy.profiles.loader import load_profile
from tests.latency.laws import W8A8, law, points, table

PROFILE = load_profile("cpu-int8")
MODEL = LatencyModel(table(), PROFILE)

channels = st.integers(1, 100).map(lambda value: 8 * value)


def structure(
    stem=16, widths=(24, 48, 64, 64, 96), ratio=2, kernel=3, strides=(2, 2, 2, 1, 2), depth=2, bits=W8A8
) -> Structure:
    stages = tuple(
        Stage(
            out_channels=out, bottleneck_channels=out * ratio, kernel=kernel, stride=stride,
            blocks=(Block.uniform(bits),) * depth,
        )
        for out, stride in zip(widths, strides, strict=True)
    )  # fmt: skip
    return Structure(
        stem=Convolution(out_channels=stem, kernel=3, stride=2, bits=W8A8),
        stages=stages,
        head=Convolution(out_channels=1280, kernel=1, stride=1, bits=W8A8),
        classifier=Classifier(classes=1000, bits=W8A8),
        resolution=224,
    )


def test_points_that_were_never_seen_are_predicted():
    unseen = [point for point in points(seed=1, count=300) if point.shape not in {p.shape for p in table().points}]
    missed = []
    for point in unseen:
        s = point.shape
        predicted = MODEL.part_seconds(s.part, s.in_channels, s.out_channels, s.kernel, s.stride, s.size, s.bits)
        missed.append(abs(float(predicted) / law(s) - 1))
    assert np.mean(missed) < 0.03
    assert np.quantile(missed, 0.9) < 0.1


def test_the_error_that_is_stated_is_about_the_error_on_points_that_were_never_seen():
    stated = MODEL.errors()["pointwise k1 s1 int8"].mean
    missed = []
    for point in points(seed=2, parts=(Part.POINTWISE,)):
        s = point.shape
        predicted = MODEL.part_seconds(s.part, s.in_channels, s.out_channels, s.kernel, s.stride, s.size, s.bits)
        missed.append(abs(float(predicted) / law(s) - 1))
    assert stated / 3 < np.mean(missed) < stated * 3


@settings(deadline=None, max_examples=50)
@given(
    st.lists(channels, min_size=1, max_size=4),
    st.lists(channels, min_size=1, max_size=4),
    st.sampled_from([7, 10, 56, 112]),
)
def test_arrays_hold_what_single_layers_take(inputs, outputs, size):
    rows = np.array(inputs)[:, None, None]
    columns = np.array(outputs)[:, None]
    shortcut = np.equal(rows, columns)
    found = MODEL.layer_seconds(
        Role.PROJECT, rows, columns, np.array([1, 1]), 1, size, W8A8, shortcut=shortcut, block_stride=2
    )
    assert found.shape == (len(inputs), len(outputs), 2)
    assert (found >= 0).all()
    for i, into in enumerate(inputs):
        for o, out in enumerate(outputs):
            one = MODEL.layer_seconds(Role.PROJECT, into, out, 1, 1, size, W8A8, shortcut=into == out, block_stride=2)
            assert np.allclose(found[i, o], one, rtol=1e-13, atol=0)


def test_kernels_are_told_apart_within_one_array():
    both = MODEL.layer_seconds(Role.DEPTHWISE, 48, 48, np.array([3, 5, 3]), 1, 28, W8A8)
    assert both[0] == both[2] < both[1]
    assert both[1] == MODEL.layer_seconds(Role.DEPTHWISE, 48, 48, 5, 1, 28, W8A8)


def test_a_structure_takes_what_its_parts_take():
    found = MODEL.seconds_by_layer(structure_graph(structure()))
    assert list(found) == [layer.name for layer in expand_layers(structure())]
    assert MODEL.seconds(structure_graph(structure())) == pytest.approx(sum(found.values()))
    parts = sum(law(shape) for shape in shapes_of(structure_graph(structure()), 1).values())
    assert MODEL.seconds(structure_graph(structure())) == pytest.approx(parts, rel=0.05)


def test_structures_without_expand_layers_are_predicted_too():
    with_stem = table(points=(*points(), *points(seed=3, count=60, parts=(Part.DEPTHWISE,))))
    found = LatencyModel(with_stem, PROFILE).seconds_by_layer(structure_graph(find_published("mbv2-8bit").structure))
    assert "stage1.block1.expand" not in found
    assert all(seconds > 0 for seconds in found.values())


def test_layers_take_what_their_shapes_take_where_a_block_is_not_padded():
    published = find_published("mbv2-8bit").structure
    first, *others = published.stages
    narrow = dataclasses.replace(
        published,
        stem=dataclasses.replace(published.stem, out_channels=24),
        stages=(dataclasses.replace(first, bottleneck_channels=24), *others),
    )
    model = LatencyModel(table(bottleneck_multiple=16), PROFILE)
    shapes = shapes_of(structure_graph(narrow), 16)
    assert shapes["stage1.block1.depthwise"].in_channels == 24
    found = model.seconds_by_layer(structure_graph(narrow))
    for name in ("stage1.block1.depthwise", "stage1.block1.project", "stage2.block1.depthwise"):
        assert found[name] == pytest.approx(model.shape_seconds(shapes[name]), abs=2**-40)


def test_calibration_applies_to_every_part_and_once_to_the_constant():
    calibration = Calibration(scale=2.0, constant=1e-3, seconds_per_weight_byte=1e-9)
    calibrated = LatencyModel(table(calibration=calibration), PROFILE)
    weights = sum(layer.weight_count for layer in expand_layers(structure()))
    expected = 1e-3 + 2 * MODEL.seconds(structure_graph(structure())) + 1e-9 * weights
    assert calibrated.seconds(structure_graph(structure())) == pytest.approx(expected)


def test_bottlenecks_are_padded_and_other_channels_are_not():
    padded = LatencyModel(table(bottleneck_multiple=16), PROFILE)
    narrow, wide = (padded.layer_seconds(Role.EXPAND, 24, out, 1, 1, 28, W8A8) for out in (40, 48))
    assert narrow == wide
    assert padded.layer_seconds(Role.EXPAND, 24, 48, 1, 1, 28, W8A8) == MODEL.layer_seconds(
        Role.EXPAND, 24, 48, 1, 1, 28, W8A8
    )
    assert padded.layer_seconds(Role.PROJECT, 48, 40, 1, 1, 28, W8A8) == MODEL.layer_seconds(
        Role.PROJECT, 48, 40, 1, 1, 28, W8A8
    )


def test_widths_that_are_computed_alike_take_alike():
    narrow = Bits(weight=4, activation=4)
    clipped = [
        TablePoint(shape=dataclasses.replace(point.shape, bits=narrow), seconds=1.5 * point.seconds)
        for point in points(parts=(Part.POINTWISE,), count=40)
    ]
    model = LatencyModel(table(points=(*points(), *clipped)), PROFILE)

    def seconds(weight, activation):
        return model.layer_seconds(Role.EXPAND, 48, 96, 1, 1, 28, Bits(weight=weight, activation=activation))

    assert seconds(4, 8) == seconds(8, 8)
    assert seconds(2, 4) == seconds(5, 5) == seconds(4, 4)
    assert seconds(4, 4) == pytest.approx(1.5 * seconds(8, 8), rel=0.1)
    model.require(LayerCategory.POINTWISE, Bits(weight=3, activation=6))


def test_what_the_table_lacks_is_named():
    only = LatencyModel(table(points=tuple(points(parts=(Part.POINTWISE, Part.STEM)))), PROFILE)
    with pytest.raises(RequestError, match=r"no depthwise layers at W8A8.*qedeploy measure --profile cpu-int8"):
        only.require(LayerCategory.DEPTHWISE, W8A8)
    with pytest.raises(RequestError, match="has no depthwise k7 s1 int8"):
        MODEL.layer_seconds(Role.DEPTHWISE, 48, 48, 7, 1, 28, W8A8)
    with pytest.raises(RequestError, match="profile cpu-int8 has no W16A4 for pointwise layers; it has "):
        MODEL.require(LayerCategory.POINTWISE, Bits(weight=16, activation=4))


def test_far_beyond_its_points_a_prediction_still_grows():
    seconds = MODEL.layer_seconds(Role.EXPAND, 640, np.array([640, 1280, 5120]), 1, 1, 112, W8A8)
    assert (np.diff(seconds) > 0).all()


def test_a_few_points_give_a_prediction_and_no_claim_about_its_error():
    few = LatencyModel(table(points=tuple(points(count=12))), PROFILE)
    assert few.errors()["pointwise k1 s1 int8"].mean is None
    assert few.layer_seconds(Role.EXPAND, 16, 32, 1, 1, 28, W8A8) > 0


def test_points_of_one_shape_alone_are_enough():
    shape = points(parts=(Part.HEAD,), count=1)[0].shape
    model = LatencyModel(table(points=(TablePoint(shape=shape, seconds=5e-4),)), PROFILE)
    assert model.layer_seconds(
        Role.HEAD, shape.in_channels, shape.out_channels, 1, 1, shape.size, W8A8
    ) == pytest.approx(5e-4)


def test_a_model_goes_to_another_process_and_stays_the_same():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        assert executor.submit(MODEL.seconds, structure_graph(structure())).result() == MODEL.seconds(
            structure_graph(structure())
        )
