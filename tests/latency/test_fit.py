"""From parts to networks, where the truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qedeploy.latency.fit import ENOUGH_NETWORKS, FEWEST_NETWORKS, fit_calibration
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import Calibration, NetworkPoint, Part
from qedeploy.network.graph import structure_graph
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure_file import to_document
from qedeploy.profiles.loader import load_profile
from tests.latency.laws import table
from tests.latency.test_predictor import structure

PROFILE = load_profile("cpu-int8")
STRUCTURES = [
    structure(stem=stem, widths=widths, ratio=ratio, depth=depth)
    for stem, widths, ratio, depth in [
        (8, (8, 16, 32, 64, 64), 2, 1), (16, (24, 48, 64, 64, 128), 3, 2), (24, (24, 80, 120, 240, 240), 2, 3),
        (8, (32, 32, 32, 32, 320), 4, 1), (16, (16, 24, 24, 160, 400), 2, 2), (32, (48, 64, 96, 128, 128), 2, 3),
        (8, (8, 8, 8, 64, 640), 3, 1), (16, (16, 40, 40, 80, 80), 2, 1),
    ]
]  # fmt: skip


def network(one, seconds):
    return NetworkPoint(structure=to_document(one), seconds=seconds, spread=0.0, rounds=5)


def truth(one, scale=1.2, constant=3e-4, rate=2e-11):
    weights = sum(layer.weight_count for layer in expand_layers(one))
    return constant + scale * LatencyModel(table(), PROFILE).seconds(structure_graph(one)) + rate * weights


def test_the_factors_of_a_known_device_are_found_again():
    networks = tuple(network(one, truth(one)) for one in STRUCTURES)
    found = fit_calibration(table(networks=networks), PROFILE).calibration
    assert found.scale == pytest.approx(1.2, rel=1e-6)
    assert found.constant == pytest.approx(3e-4, rel=1e-6)
    assert found.seconds_per_weight_byte == pytest.approx(2e-11, rel=1e-6)
    assert found.networks == len(STRUCTURES)
    assert found.error == pytest.approx(0, abs=1e-9)


def test_an_earlier_calibration_does_not_count_twice():
    networks = tuple(network(one, truth(one)) for one in STRUCTURES)
    once = fit_calibration(table(networks=networks), PROFILE)
    assert fit_calibration(once, PROFILE).calibration == once.calibration


def test_no_factor_is_negative():
    random = np.random.default_rng(0)
    networks = tuple(network(one, truth(one, constant=0) * random.uniform(0.5, 1.5)) for one in STRUCTURES)
    found = fit_calibration(table(networks=networks), PROFILE).calibration
    assert min(found.scale, found.constant, found.seconds_per_weight_byte) >= 0
    assert found.error > 0.05


def test_few_networks_give_a_scale_and_nothing_else():
    networks = tuple(network(one, truth(one)) for one in STRUCTURES[: FEWEST_NETWORKS - 1])
    found = fit_calibration(table(networks=networks), PROFILE).calibration
    assert (found.constant, found.seconds_per_weight_byte) == (0, 0)
    assert found.scale > 1.2


def test_without_networks_parts_count_as_they_are():
    before = table(calibration=Calibration(scale=3.0))
    assert fit_calibration(before, PROFILE) == dataclasses.replace(before, calibration=Calibration())


def test_parts_get_scales_of_their_own_where_that_predicts_networks_better():
    factors = {Part.POINTWISE: 0.9, Part.DEPTHWISE: 1.4, Part.SHORTCUT: 2.0}
    device = LatencyModel(table(calibration=Calibration(constant=1e-4, part_scales=factors)), PROFILE)
    random = np.random.default_rng(0)
    structures = [
        structure(
            stem=int(random.choice([8, 16, 24, 32])),
            widths=tuple(sorted(int(8 * channels) for channels in random.integers(1, 50, 5))),
            ratio=int(random.choice([2, 3, 4])),
            kernel=int(random.choice([3, 5])),
            depth=int(random.choice([1, 2, 3])),
        )
        for _ in range(ENOUGH_NETWORKS)
    ]
    networks = tuple(network(one, device.seconds(structure_graph(one))) for one in structures)
    found = fit_calibration(table(networks=networks), PROFILE).calibration
    assert found.part_scales == pytest.approx(factors, rel=1e-3)
    assert found.constant == pytest.approx(1e-4, rel=1e-3)
    assert found.scale == 1
    assert found.error < 1e-4
    for part, factor in factors.items():
        assert found.scale_of(part) == pytest.approx(factor, rel=1e-3)
    assert found.scale_of(Part.STEM) == found.scale
    few = fit_calibration(table(networks=networks[:-1]), PROFILE).calibration
    assert few.part_scales == {}
    assert few.error > found.error
    alike = tuple(network(one, truth(one)) for one in structures)
    assert fit_calibration(table(networks=alike), PROFILE).calibration.error < 1e-6
