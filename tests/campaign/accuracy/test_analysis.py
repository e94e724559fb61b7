"""Orders and their intervals against SciPy, and the noise of seeds against what it was made with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qedeploy.campaign.accuracy.analysis import ArmNetwork, analysed, kendall
from qedeploy.campaign.accuracy.arms import Arm
from qedeploy.campaign.accuracy.estimates import Known
from qedeploy.campaign.accuracy.report import sentences
from qedeploy.campaign.accuracy.training import Failed, Trained
from tests.model.structures import tiny_structure

ROW = st.lists(st.integers(0, 6), min_size=5, max_size=12)


def network(score, shares, *, layers=10.0, curve=((1.0, 0.1), (2.0, 0.2))):
    trained = tuple(
        Trained(key="n", seed=seed, top1=share, images=100, curve=curve, seconds=1.0)
        for seed, share in enumerate(shares)
    )
    return ArmNetwork(structure=tiny_structure(), known={Known.SCORE: score, Known.LAYERS: layers}, trained=trained)


def made(count, *, noise, seeds=2, seed=0):
    """Networks whose true accuracy rises with the score, each seed off by `noise`."""
    random = np.random.default_rng(seed)
    true = np.linspace(0.80, 0.90, count)
    return [
        network(float(place), random.normal(value, noise, seeds), layers=float(random.integers(5)))
        for place, value in enumerate(true)
    ]


@settings(deadline=None, max_examples=30)
@given(ROW, st.integers(0, 99))
def test_kendall_is_scipys_with_ties(values, seed):
    other = np.random.default_rng(seed).integers(0, 4, len(values)).astype(float)
    expected = stats.kendalltau(values, other).statistic
    assert kendall(np.array(values, float), other) == pytest.approx(expected, nan_ok=True)


def test_intervals_are_those_of_scipys_bootstrap():
    networks = made(14, noise=0.03)
    found = analysed(Arm.FREE, networks, (), 0).order(Known.SCORE)
    scores, shares = [one.known[Known.SCORE] for one in networks], [one.top1 for one in networks]
    expected = stats.bootstrap(
        (scores, shares),
        lambda first, second: stats.kendalltau(first, second).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found.kendall.value == pytest.approx(stats.kendalltau(scores, shares).statistic)
    assert (found.kendall.low, found.kendall.high) == pytest.approx((expected.low, expected.high), abs=0.08)
    assert found.spearman == pytest.approx(stats.spearmanr(scores, shares).statistic)


def test_the_score_is_set_against_every_other_figure():
    result = analysed(Arm.FREE, made(12, noise=0.005), (), 0)
    layers = result.order(Known.LAYERS)
    expected = result.order(Known.SCORE).kendall.value - layers.kendall.value
    assert layers.score_above.value == pytest.approx(expected)
    assert layers.score_above.low < expected < layers.score_above.high
    assert result.order(Known.SCORE).score_above is None


def test_a_figure_that_is_the_same_for_all_orders_nothing():
    result = analysed(Arm.FREE, [network(float(place), (0.8 + place / 100,)) for place in range(4)], (), 0)
    assert result.order(Known.LAYERS).kendall is None
    assert result.order(Known.SCORE).kendall.value == 1
    assert result.noise is None
    assert any("One seed" in sentence for sentence in sentences(result))


@pytest.mark.parametrize("noise", [0.002, 0.02])
def test_the_ceiling_is_what_true_accuracy_reaches(noise):
    deviations, ceilings, reached = [], [], []
    for seed in range(8):
        networks = made(14, noise=noise, seed=seed)
        found = analysed(Arm.FREE, networks, (), 0).noise
        deviations.append(found.deviation)
        ceilings.append(found.ceiling.value)
        reached.append(stats.kendalltau(np.arange(14), [one.top1 for one in networks]).statistic)
    assert np.mean(deviations) == pytest.approx(noise, rel=0.2)
    assert np.mean(ceilings) == pytest.approx(np.mean(reached), abs=0.06)


def test_without_noise_anything_could_be_known():
    networks = [network(float(place), (0.5 + place / 50,) * 2) for place in range(6)]
    noise = analysed(Arm.FREE, networks, (), 0).noise
    assert (noise.deviation, noise.ceiling.value, noise.repeat) == (0, 1, 1)


def test_halfway_compares_held_out_pictures_at_half_of_the_epochs_with_the_end():
    ends = (0.5, 0.6, 0.7, 0.8)
    same = [network(1.0, (0.5,), curve=((1.0, end - 0.1), (1.5, 0.0), (2.0, end))) for end in ends]
    turned = [network(1.0, (0.5,), curve=((1.0, 1 - end), (1.5, end), (2.0, end))) for end in ends]
    assert analysed(Arm.FREE, same, (), 0).halfway == 1
    assert analysed(Arm.FREE, turned, (), 0).halfway == -1
    one_epoch = [network(1.0, (0.5,), curve=((1.0, end),)) for end in ends]
    assert analysed(Arm.FREE, one_epoch, (), 0).halfway is None


def test_sentences_say_what_is_known_and_what_is_not():
    failed = Failed(key="x", seed=0, failure="the loss is no number any more at step 4")
    result = analysed(Arm.WIDTHS_FIXED, made(12, noise=0.001), (failed,), 1)
    text = " ".join(sentences(result))
    for words in (
        "shapes differ, all at the same bit widths; 12 networks",
        "2 seeds each",
        "of 100 images",
        "better than chance",
        "that the noise of seeds leaves",
        "1 training failed: the loss is no number any more at step 4",
        "1 network came to no accuracy",
    ):
        assert words in text
    turned = [network(float(-place), (0.5 + place / 50,) * 2) for place in range(8)]
    assert "in the wrong order" in " ".join(sentences(analysed(Arm.FREE, turned, (), 0)))
