"""Intervals against what others compute or print, and against how often they cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from qedeploy.train.accuracy import class_table, confusion, difference, share, top
from qedeploy.train.predictions import Predictions


def answers(labels, chosen) -> Predictions:
    labels, chosen = np.asarray(labels), np.asarray(chosen)
    return Predictions(labels=labels, chosen=chosen, rank=np.where(labels == chosen, 0, 1))


def test_the_interval_of_a_share_is_wilsons():
    """The figures of Newcombe 1998, table I, method 3: 81 of 263 and 0 of 20."""
    found = share(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    none = share(0, 20)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert str(share(9_000, 10_000)) == "90.00% [89.40%, 90.57%] of 10,000 images"


def test_no_images_make_no_share():
    with pytest.raises(ValueError, match="no images"):
        share(0, 0)


def test_a_difference_counts_what_only_one_has_right():
    labels = np.zeros(100, np.int64)
    first, second = np.ones(100, np.int64), np.ones(100, np.int64)
    first[:60], second[20:70] = 0, 0  # 40 both, 20 only the first, 10 only the second
    found = difference(answers(labels, first), answers(labels, second))
    assert (found.only_first, found.only_second, found.value) == (20, 10, 0.1)
    assert found.low < 0.1 < found.high
    # The exact test of 20 against 10: twice the tail of a fair coin.
    assert found.p_value == pytest.approx(0.0987, abs=1e-4)


def test_equal_models_differ_by_nothing():
    labels = np.arange(10)
    found = difference(answers(labels, labels), answers(labels, labels))
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high
    assert str(found).startswith("as often right as the other, 95 % interval [-")


@pytest.mark.parametrize(("ours", "theirs", "said"), [(50, 90, "0.40 points below"), (90, 50, "0.40 points above")])
def test_a_difference_is_a_plain_sentence(ours, theirs, said):
    labels = np.zeros(10_000, np.int64)
    first, second = np.zeros(10_000, np.int64), np.zeros(10_000, np.int64)
    first[:theirs], second[-ours:] = 1, 1
    words = difference(answers(labels, first), answers(labels, second)).against("float.pth")
    # Of 140 discordant pairs: 0.40 points, and 1.96 times the square root of 140 - 0.16 images to each side.
    assert words == f"{said} float.pth, 95 % interval [0.17, 0.63], 10,000 images"


def test_other_images_are_not_compared():
    with pytest.raises(ValueError, match="other images"):
        difference(answers([0, 1], [0, 1]), answers([1, 0], [1, 0]))


@pytest.mark.parametrize(("only_first", "only_second"), [(0.02, 0.02), (0.06, 0.02), (0.004, 0.012)])
def test_the_interval_of_a_difference_covers_the_truth(only_first, only_second):
    """Drawn anew 2,000 times, about 95 % of the intervals hold the true difference."""
    generator = np.random.default_rng(1)
    labels = np.zeros(500, np.int64)
    covered = 0
    for _ in range(2000):
        kinds = generator.choice(3, 500, p=[only_first, only_second, 1 - only_first - only_second])
        found = difference(answers(labels, (kinds == 1).astype(int)), answers(labels, (kinds == 0).astype(int)))
        covered += found.low <= only_first - only_second <= found.high
    assert 0.93 <= covered / 2000 <= 0.985


def test_top_k_and_confusion_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels, logits = generator.integers(0, 7, 300), generator.normal(size=(300, 7))
    order = np.argsort(-logits, axis=1)
    rank = (order == labels[:, None]).argmax(axis=1)
    found = Predictions(labels=labels, chosen=order[:, 0], rank=rank)
    assert top(found, 5).value == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    counts = confusion(found, 7)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, order[:, 0]))
    table = class_table(counts, tuple("abcdefg"))
    assert [one.count for one in table] == np.bincount(labels).tolist()
    assert sum(one.right for one in table) == top(found, 1).right
    assert sum(one.right + one.also for one in table) == 300
