"""Gates decide where an interval lets them, and say so where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.rulings import Ruling, enforce
from qedeploy.train.accuracy import difference, share
from qedeploy.train.gates import judge, parse_gate, require_classes, require_comparable
from qedeploy.train.predictions import Predictions


def fallen(wrong: int, count: int):
    labels = np.zeros(count, np.int64)
    worse = (np.arange(count) < wrong).astype(np.int64)
    return difference(
        Predictions(labels=labels, chosen=worse, rank=worse), Predictions(labels=labels, chosen=labels, rank=labels)
    )


@pytest.mark.parametrize(
    ("text", "right", "outcome"),
    [
        ("top1<70%", 7500, Ruling.PASSED),
        ("top1<70%", 6500, Ruling.FAILED),
        ("top1<70%", 7010, Ruling.WITHHELD),
        (" top5 < 70.5 % ", 8000, Ruling.PASSED),
        ("top1>99%", 5000, Ruling.PASSED),
    ],
)
def test_a_share_is_judged_by_its_interval(text, right, outcome):
    found = share(right, 10_000)
    verdict = judge(parse_gate(text), {"top1": found, "top5": found}, None)
    assert verdict.outcome is outcome
    assert "10,000 images" in verdict.sentence


@pytest.mark.parametrize(("wrong", "outcome"), [(5, "passed"), (200, "failed"), (50, "withheld")])
def test_a_drop_is_judged_by_its_interval(wrong, outcome):
    verdict = judge(parse_gate("top1-drop>0.5%"), {"top1": share(1, 2)}, fallen(wrong, 10_000))
    assert verdict.outcome == outcome
    if outcome == "passed":
        enforce([verdict])
    else:
        with pytest.raises(RequestError, match="top1-drop"):
            enforce([verdict])


@pytest.mark.parametrize("text", ["top1", "top1<70", "top2<70%", "p50>3ms", "top1<=70%", ""])
def test_what_is_no_gate_is_refused(text):
    with pytest.raises(UserError, match="expected top1<70%"):
        parse_gate(text)


def test_a_drop_needs_another_model():
    with pytest.raises(UserError, match="--against"):
        require_comparable([parse_gate("top1<70%"), parse_gate("top1-drop>1%")], compared=False)
    require_comparable([parse_gate("top1-drop>1%")], compared=True)
    require_comparable([parse_gate("top1<70%")], compared=False)


def test_five_answers_need_more_classes():
    with pytest.raises(UserError, match="5 classes"):
        require_classes([parse_gate("top5<90%")], 5)
    require_classes([parse_gate("top5<90%")], 6)
