"""What layers in integers save beside each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qedeploy.campaign.quantization.measurement import SetMeasurement
from qedeploy.campaign.quantization.neighbours import Neighbourhood, Neighbours, find_neighbours, fit_savings, pairs
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantizer import make_quantizer
from qedeploy.export.onnx_networks.sizes import parse_sizes
from tests.export.onnx_networks.networks import Maker, mobile_network, write


def found_in(model, tmp_path, shape, shapes=()):
    prepared = prepare(write(model, tmp_path), parse_sizes(shapes))
    feed = {"image": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    quantizer = make_quantizer(prepared.model, [feed])
    # Layers by the operator that reads what they make, which tests can name.
    names = {layer.name: layer.result.split(".")[0] for layer in quantizer.layers.values()}
    return {(names[item.first], names[item.second]): item for item in find_neighbours(quantizer)}


def test_the_neighbours_of_a_mobile_network_are_known_with_what_is_between_them(tmp_path):
    found = found_in(mobile_network(), tmp_path, (1, 3, 32, 48), ["image=1x3x32x48"])
    kinds = {names: item.kind for names, item in found.items()}
    assert kinds["stem", "expand"] is Neighbourhood.DIRECT
    assert kinds["expand", "depthwise"] is Neighbourhood.CARRIED
    assert kinds["depthwise", "project"] is Neighbourhood.DIRECT
    assert kinds["project", "head"] is Neighbourhood.CARRIED
    assert found["stem", "expand"].numbers == 16 * 16 * 24


def test_floating_point_between_layers_and_a_common_input_are_told_apart(tmp_path):
    make = Maker()
    make.node("Softplus", [make.conv("image", "first", (4, 3, 1, 1))], "soft")
    make.conv("soft", "second", (4, 4, 1, 1))
    make.conv("soft", "third", (4, 4, 1, 1))
    model = make.model({"image": [1, 3, 8, 8]}, ["second", "third"])
    kinds = {names: item.kind for names, item in found_in(model, tmp_path, (1, 3, 8, 8)).items()}
    assert kinds == {
        ("first", "second"): Neighbourhood.THROUGH_FLOAT,
        ("first", "third"): Neighbourhood.THROUGH_FLOAT,
        ("second", "third"): Neighbourhood.SAME_INPUT,
    }


def test_savings_that_made_the_times_are_found_again():
    generator = np.random.default_rng(3)
    names = [f"layer{number}" for number in range(12)]
    alone = {(name, "W8A8"): float(generator.normal(0, 1e-4)) for name in names}
    kinds = [Neighbourhood.DIRECT, Neighbourhood.CARRIED, Neighbourhood.THROUGH_FLOAT]
    neighbours = [
        Neighbours(first=first, second=second, kind=kinds[index % 3], numbers=int(generator.integers(1000, 90_000)))
        for index, (first, second) in enumerate(itertools.pairwise(names))
    ]
    true = {Neighbourhood.DIRECT: 1e-9, Neighbourhood.CARRIED: 3e-9, Neighbourhood.THROUGH_FLOAT: 4e-10}
    sets = []
    for _ in range(6):
        chosen = {name: "W8A8" for name in names if generator.random() < 0.7}
        saved = sum(true[p.kind] * p.numbers for p in neighbours if p.first in chosen and p.second in chosen)
        sets.append(
            SetMeasurement(precisions=chosen, seconds=sum(alone[name, "W8A8"] for name in chosen) - saved, error=0.0)
        )
    savings = fit_savings(neighbours, alone, sets, 1e-2)
    for kind, value in true.items():
        assert savings.per_number[kind] == pytest.approx(value, rel=1e-6)
    assert savings.per_number[Neighbourhood.SAME_INPUT] == 0
    assert savings.worst < 1e-9
    assert sum(pair.seconds for pair in pairs(neighbours, savings)) == pytest.approx(
        sum(true[pair.kind] * pair.numbers for pair in neighbours)
    )


def test_without_sets_nothing_is_saved():
    savings = fit_savings([], {}, [], 1.0)
    assert set(savings.per_number.values()) == {0.0}


def test_a_few_numbers_are_not_made_to_explain_what_is_left():
    names = ["a", "b", "c", "d"]
    alone = {(name, "W8A8"): 0.0 for name in names}
    neighbours = [
        Neighbours(first="a", second="b", kind=Neighbourhood.CARRIED, numbers=100_000),
        Neighbours(first="c", second="d", kind=Neighbourhood.DIRECT, numbers=10),
    ]
    sets = [
        SetMeasurement(precisions=dict.fromkeys(chosen, "W8A8"), seconds=-saved, error=0.0)
        for chosen, saved in ((("a", "b"), 2e-4), (("c", "d"), 5e-5), (names, 3e-4))
    ]
    savings = fit_savings(neighbours, alone, sets[::2], 1e-2)
    assert savings.per_number[Neighbourhood.DIRECT] * 10 < 1e-6
    assert savings.per_number[Neighbourhood.CARRIED] == pytest.approx(2.5e-9, rel=0.05)
