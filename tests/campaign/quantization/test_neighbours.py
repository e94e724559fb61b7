"""What layers in integers save beside each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qedeploy.campaign.quantization.measurement import LayerMeasurement, SetMeasurement
from qedeploy.campaign.quantization.neighbours import Conversions, find_conversions, fit_savings, savings
from qedeploy.export.onnx_networks.preparation import prepare
from qedeploy.export.onnx_networks.quantizer import make_quantizer
from qedeploy.export.onnx_networks.sizes import parse_sizes
from tests.export.onnx_networks.networks import Maker, mobile_network, write


def found_in(model, tmp_path, shape, shapes=()):
    """Return by layer, and whether it is behind it, the layers around and within a place."""
    prepared = prepare(write(model, tmp_path), parse_sizes(shapes))
    feed = {"image": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    quantizer = make_quantizer(prepared.model, [feed])
    # Layers by what they make, which tests can name.
    names = {layer.name: layer.result.split(".")[0] for layer in quantizer.layers.values()}
    return {
        (names[item.layer], item.behind): (
            {names[other] for other in item.around},
            None if item.within is None else {names[other] for other in item.within},
        )
        for item in find_conversions(quantizer)
    }


def test_a_place_is_all_that_operators_between_layers_join(tmp_path):
    found = found_in(mobile_network(), tmp_path, (1, 3, 32, 48), ["image=1x3x32x48"])
    assert ("stem", False) not in found  # Nothing of the network makes the image.
    # The residual joins what the stem makes, what the block makes of it, and what reads either.
    assert found["stem", True] == ({"expand", "head"}, {"expand", "project", "head"})
    assert found["head", False] == ({"stem", "project"}, {"stem", "project", "expand"})
    assert found["expand", True] == ({"depthwise"}, {"depthwise"})
    assert found["project", False] == ({"depthwise"}, {"depthwise"})


def test_numbers_stay_converted_where_floating_point_lies_between(tmp_path):
    make = Maker()
    make.node("Softplus", [make.conv("image", "first", (4, 3, 1, 1))], "soft")
    make.conv("soft", "second", (4, 4, 1, 1))
    make.conv("soft", "third", (4, 4, 1, 1))
    model = make.model({"image": [1, 3, 8, 8]}, ["second", "third"])
    assert found_in(model, tmp_path, (1, 3, 8, 8)) == {
        ("first", True): ({"second", "third"}, None),
        ("second", False): ({"first"}, None),
        ("third", False): ({"first"}, None),
    }


def test_a_gate_of_few_numbers_matters_to_the_numbers_and_not_to_their_layout(tmp_path):
    make = Maker()
    make.conv("image", "trunk", (8, 3, 1, 1), pads=[0] * 4)
    make.node("GlobalAveragePool", ["trunk"], "pool")
    make.conv("pool", "gate", (8, 8, 1, 1), pads=[0] * 4)
    make.node("Sigmoid", ["gate"], "gate.sigmoid")
    make.node("Mul", ["trunk", "gate.sigmoid"], "gated")
    make.conv("gated", "last", (4, 8, 1, 1), pads=[0] * 4)
    found = found_in(make.model({"image": [1, 3, 16, 16]}, ["last"]), tmp_path, (1, 3, 16, 16))
    assert found["trunk", True] == ({"last"}, {"gate", "last"})
    assert found["last", False] == ({"trunk"}, {"trunk", "gate"})


def layer(name: str, before: float, behind: float, seconds: float = 0.0) -> LayerMeasurement:
    return LayerMeasurement(
        layer=name,
        precision="W8A8",
        seconds=seconds,
        seconds_before=before,
        seconds_behind=behind,
        error=0.0,
        error_spread=0.0,
        samples=1,
    )


def chain(names: list[str]) -> list[Conversions]:
    """Return the conversions of layers one behind the other, with a gate between every third and the next."""
    found = []
    for index, (first, second) in enumerate(itertools.pairwise(names)):
        gate = (names[-1],) if index % 3 == 0 and second != names[-1] else ()
        found.append(Conversions(layer=first, behind=True, around=(second,), within=(second, *gate)))
        found.append(Conversions(layer=second, behind=False, around=(first,), within=(first, *gate)))
    return found


@pytest.mark.parametrize(("layout", "numbers"), [(0.25, 0.5), (0.0, 0.75), (0.5, 0.0), (0.4, 0.6)])
def test_shares_that_made_the_times_are_found_again(layout, numbers):
    generator = np.random.default_rng(3)
    names = [f"layer{number}" for number in range(12)]
    alone = [
        layer(name, generator.exponential(1e-4), generator.exponential(1e-4), generator.normal(0, 1e-4))
        for name in names
    ]
    conversions = chain(names)
    true = savings(conversions, alone, layout, numbers)
    sets = []
    for _ in range(8):
        chosen = {item for item in names if generator.random() < 0.8}
        saved = sum(item.seconds for item in true if chosen.issuperset(item.layers))
        own = sum(item.seconds for item in alone if item.layer in chosen)
        sets.append(SetMeasurement(precisions=dict.fromkeys(chosen, "W8A8"), seconds=own - saved, error=0.0))
    found = fit_savings(conversions, alone, sets, 1e-2)
    assert (found.layout, found.numbers) == pytest.approx((layout, numbers), abs=1e-3)
    assert found.worst < 1e-4
    assert found.sets == len(sets)


def test_what_layers_take_more_among_others_is_learnt_from_sets_that_hold_them():
    alone = [layer(name, 0.0, 0.0, -1e-4) for name in "abcd"]
    more = {"a": 3e-5, "b": 0.0, "c": -2e-5, "d": 0.0}
    sets = [
        SetMeasurement(precisions=dict.fromkeys(names, "W8A8"), seconds=sum(more[n] - 1e-4 for n in names), error=0.0)
        for names in ("ab", "bc", "cd", "abd", "acd", "abcd")
    ]
    found = fit_savings(chain(list("abcd")), alone, sets, 1e-3)
    assert (found.layout, found.numbers) == (0.0, 0.0)
    for name, seconds in more.items():
        assert found.corrections[name, "W8A8"] == pytest.approx(seconds, abs=8e-6)
    assert found.worst < 2e-3


@pytest.mark.parametrize(("seconds", "share"), [(-1.0, 1.0), (1.0, 0.0)])
def test_no_more_is_saved_than_was_converted_and_nothing_is_added(seconds, share):
    conversions, alone = chain(["a", "b"]), [layer("a", 0.0, 2e-4), layer("b", 3e-4, 0.0)]
    sets = [SetMeasurement(precisions={"a": "W8A8", "b": "W8A8"}, seconds=seconds, error=0.0)]
    found = fit_savings(conversions, alone, sets, 1.0)
    assert found.layout + found.numbers == pytest.approx(share, abs=1e-6)
    assert found.worst > 0.7, "the layers' own times are not as wrong as that"


def test_without_sets_nothing_is_saved():
    found = fit_savings(chain(["a", "b"]), [], [], 1.0)
    assert (found.layout, found.numbers, found.worst) == (0.0, 0.0, 0.0)
    assert savings(chain(["a", "b"]), [], 1.0, 1.0) == ()
