"""What users ask of quantize."""

from __future__ import annotations

import pytest

from qedeploy.campaign.quantization.request import QuantizationBudgets, kept_layers, parse_budgets, parse_fixed
from qedeploy.errors import UserError


def test_budgets_are_read():
    assert parse_budgets(["latency=0.8x", "error=0.05"]) == QuantizationBudgets(share=0.8, error=0.05)
    assert parse_budgets(["latency=4ms", "size=2MB"]) == QuantizationBudgets(seconds=4e-3, size=2e6)
    assert parse_budgets([]).limits_time is False


@pytest.mark.parametrize(
    "texts",
    [["speed=2"], ["latency"], ["latency=0.8x", "latency=4ms"], ["latency=0x"], ["error=-1"], ["error=x"], ["size=0"]],
)
def test_budgets_that_make_no_sense_are_refused(texts):
    with pytest.raises(UserError):
        parse_budgets(texts)


def test_layers_are_fixed_by_name_even_with_an_equals_sign_in_it():
    assert parse_fixed(["conv1=float32", "a=b=W8A8"]) == {"conv1": "float32", "a=b": "W8A8"}
    for text in ("conv1", "=float32", "conv1="):
        with pytest.raises(UserError, match="LAYER=PRECISION"):
            parse_fixed([text])


def test_layers_are_kept_by_expressions():
    assert kept_layers(["^head", "2$"], ["head.a", "conv2", "conv1"]) == {"head.a", "conv2"}
    with pytest.raises(UserError, match="not a regular expression"):
        kept_layers(["("], ["a"])
    with pytest.raises(UserError, match="matches no layer"):
        kept_layers(["zebra"], ["a"])
