"""What is said of a result, for results made by hand: each sentence where it belongs and nowhere else."""

from __future__ import annotations

import dataclasses

import pytest

from qedeploy.bench.attribution.attribution import TimedPart
from qedeploy.bench.attribution.correlation import Correlation
from qedeploy.bench.measure.interleave import Ratio
from qedeploy.bench.measure.machine import Machine
from qedeploy.bench.report.comparisons import (
    FLOAT_TWIN,
    THIS_MODEL,
    W8A8_TWIN,
    carried_bits,
    compared_findings,
    withheld_reason,
)
from qedeploy.bench.report.document import ComparedModel, LayerRow, ProfiledPass, Totals
from qedeploy.bench.report.doubts import Circumstances, products_findings, warnings
from qedeploy.bench.report.findings import correlation_sentences, profile_findings
from qedeploy.network.structure import Bits
from qedeploy.runtimes.node_names import Overhead
from qedeploy.runtimes.onnxruntime.node_names import NODE_NAMES
from qedeploy.runtimes.products import Products
from qedeploy.runtimes.runner import RunnerDescription
from qedeploy.runtimes.timing import MAX_VARIATION, Summary

EIGHT = Bits(weight=8, activation=8)
STEADY = Summary(
    queries=1000, mean=1e-3, median=1e-3, p90=1e-3, p95=1e-3, p99=1e-3, minimum=1e-3, maximum=1e-3,
    throughput=1000.0, variation=0.01,
)  # fmt: skip
MACHINE = Machine(
    cpu="a processor", physical_cores=4, logical_cores=4, usable_cores=4, instruction_sets=("avx512_vnni",),
    memory_bytes=2**34, system="Linux", python="3.11", packages=(), governor="performance", load=0.1,
)  # fmt: skip
RUNNER = RunnerDescription(
    runtime="ONNX Runtime", version="1", device="CPU", latency="a query", inputs=(), batch=1, threads=1, settings={}
)


def row(
    name: str, nominal: Bits, *, node: str = "QLinearConv", kind: str = "pointwise", rate: float = 1e12
) -> LayerRow:
    return LayerRow(
        name=name, seconds=1e-5, share=0.1, nodes=(node,), kind=kind, lowering="int8", nominal=nominal, executed=EIGHT,
        nominal_bitops=1.0, executed_bitops=rate * 1e-5, rate=rate,
    )  # fmt: skip


def profiled(*rows: LayerRow, whole: float = 1.1e-3, interrupted: float = 0.0) -> ProfiledPass:
    rest = whole - sum(item.seconds or 0.0 for item in rows) - interrupted
    parts = tuple(
        TimedPart(name=kind, seconds=seconds, share=seconds / whole, nodes=())
        for kind, seconds in ((Overhead.BETWEEN, rest), (Overhead.INTERRUPTED, interrupted))
    )
    return ProfiledPass(layers=rows, overheads=parts, nodes=(), whole=whole, queries=100)


def compared(name: str, ratio: tuple[float, float, float], *, executed: float = 64.0, variation: float = 0.01):
    low, value, high = ratio
    own = ComparedModel(name=THIS_MODEL, summary=STEADY, totals=Totals(nominal_bitops=25.0, executed_bitops=64.0))
    other = ComparedModel(
        name=name,
        summary=dataclasses.replace(STEADY, variation=variation),
        totals=Totals(nominal_bitops=executed, executed_bitops=executed),
        ratio=Ratio(value=value, low=low, high=high, rounds=15),
    )
    return own, other


def said(models: tuple[ComparedModel, ...], *rows: LayerRow) -> str:
    return " ".join(compared_findings(models, rows, MAX_VARIATION))


def circumstances(**changes: object) -> Circumstances:
    seen = Circumstances(
        summary=STEADY, variation_limit=MAX_VARIATION, compared=(), machine=MACHINE, runner=RUNNER,
        profiled=profiled(row("head", EIGHT)), plan_runtime="onnxruntime", names=NODE_NAMES,
    )  # fmt: skip
    return dataclasses.replace(seen, **changes)


def test_bits_that_gain_nothing_are_called_so():
    rows = (row("stem", EIGHT), row("head", Bits(weight=5, activation=5)))
    assert said(compared(W8A8_TWIN, (0.99, 1.0, 1.01)), *rows) == (
        "W5A5 is carried in INT8 (1 of 2 layers): executed BitOps equal those of W8A8, and the measured time is "
        "1.00x [0.99, 1.01] of the W8A8 twin's. The searched bits gain no time here, and no bytes: narrower weights "
        "lie in 8 bits too."
    )
    assert "costs some" in said(compared(W8A8_TWIN, (1.03, 1.05, 1.07)), *rows)
    assert "gain no arithmetic" in said(compared(W8A8_TWIN, (0.9, 0.95, 0.99)), *rows)


def test_bits_that_gain_are_not_called_useless():
    text = said(compared(W8A8_TWIN, (0.6, 0.7, 0.8), executed=128.0), row("head", Bits(weight=4, activation=16)))
    assert "0.50x those of W8A8" in text
    assert "gain no" not in text


def test_a_w8a8_model_is_its_own_twin():
    assert "W8A8 already" in said(compared(W8A8_TWIN, (0.99, 1.0, 1.01)), row("head", EIGHT))


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        ((0.48, 0.5, 0.52), "2.00 times as fast"),
        ((1.9, 2.0, 2.1), "2.00 times as slow"),
        ((0.9, 1.0, 1.1), "no difference"),
    ],
)
def test_times_are_compared_in_words(ratio, words):
    assert words in said(compared(FLOAT_TWIN, ratio))


def test_unstable_comparisons_are_hints():
    assert "hint" in said(compared(FLOAT_TWIN, (0.4, 0.5, 0.6), variation=0.2))
    assert "hint" not in said(compared(FLOAT_TWIN, (0.4, 0.5, 0.6)))


def test_a_ratio_is_withheld_where_a_run_varies_by_half_its_mean():
    wild = dataclasses.replace(STEADY, variation=0.84)
    assert withheld_reason(STEADY, STEADY, wild, MAX_VARIATION) == "the two vary by 1% and 84%"
    assert withheld_reason(STEADY, STEADY, wild, 1.0) == ""


def test_a_ratio_is_withheld_where_one_model_has_two_medians():
    alone = dataclasses.replace(STEADY, median=1.132e-3, variation=0.2)
    beside = dataclasses.replace(STEADY, median=3.841e-3, variation=0.3)
    assert "1.132 ms alone and 3.841 ms in alternation" in withheld_reason(alone, beside, beside, MAX_VARIATION)
    assert withheld_reason(alone, alone, beside, MAX_VARIATION) == ""


def test_a_withheld_ratio_is_in_no_sentence_and_facts_that_need_no_run_stay():
    own, other = compared(W8A8_TWIN, (0.1, 5.61, 9.0), variation=0.9)
    other = dataclasses.replace(other, withheld="the two vary by 1% and 90%")
    rows = (row("stem", EIGHT), row("head", Bits(weight=5, activation=5)))
    text = said((own, other), *rows)
    assert "5.61" not in text
    assert "withheld, since the two vary by 1% and 90%" in text
    assert "gain no arithmetic here" in text
    text = said((own, dataclasses.replace(other, name=FLOAT_TWIN)))
    assert text == "Against float32 twin: withheld, since the two vary by 1% and 90%."


def test_many_widths_are_given_as_a_range():
    rows = [row(f"l{w}{a}", Bits(weight=w, activation=a)) for w in (3, 4, 5, 6) for a in (4, 5)]
    assert carried_bits(rows) == ("W3A4 to W6A5 (W3-6, A4-5)", 8)


def test_rates_and_correlations_are_said():
    rows = (row("a", EIGHT, rate=8e12), row("b", EIGHT, kind="depthwise", rate=1e12))
    known = Correlation(estimate="Nominal BitOps", layers=2, spearman=0.5, kendall=0.25)
    unknown = Correlation(estimate="Executed BitOps", layers=2, spearman=None, kendall=None)
    assert "8.0 times the rate" in " ".join(profile_findings(profiled(*rows)))
    text = " ".join(correlation_sentences((known, unknown)))
    assert "tau 0.25" in text
    assert "Executed BitOps" not in text


def test_interruptions_are_no_overhead_of_the_model():
    found = profile_findings(profiled(row("a", EIGHT), whole=1e-3, interrupted=9.6e-4))
    assert found[0].startswith("75% of the usual time is spent outside the layers, most of it on runtime between nodes")


def test_a_good_run_has_no_warnings():
    assert warnings(circumstances()) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"summary": dataclasses.replace(STEADY, variation=0.03)}, "alone 3.0%"),
        ({"compared": compared(FLOAT_TWIN, (1, 1, 1), variation=0.05)}, "float32 twin in alternation 5.0%"),
        (
            {"summary": dataclasses.replace(STEADY, median=2e-3), "compared": compared(FLOAT_TWIN, (1, 1, 1))},
            "took 2.000 ms alone and 1.000 ms in alternation",
        ),
        ({"summary": dataclasses.replace(STEADY, queries=12)}, "p99 rests on 12 queries"),
        ({"machine": dataclasses.replace(MACHINE, load=5.0)}, "Load was 5.0 on 4 cores"),
        ({"machine": dataclasses.replace(MACHINE, governor="powersave")}, "powersave"),
        ({"runner": dataclasses.replace(RUNNER, threads=9)}, "9 threads share 4 cores"),
        ({"profiled": profiled(row("head", EIGHT), whole=2e-3)}, "2.00x the median without"),
        ({"profiled": profiled(row("head", EIGHT), whole=5e-4)}, "other programs slowed the headline run"),
        ({"profiled": profiled(row("head", EIGHT), whole=1.5e-3, interrupted=4.5e-4)}, "30% of the profiled time"),
        (
            {"profiled": profiled(row("head", EIGHT, node="Conv"))},
            "1 of 1 layers planned as int8 ran in floating point",
        ),
        (
            {"machine": dataclasses.replace(MACHINE, instruction_sets=("avx2",))},
            "no instructions for 8-bit dot products",
        ),
        ({"plan_runtime": "tensorrt"}, "exported for tensorrt"),
        ({"plan_runtime": None}, "no qedeploy metadata"),
        ({"plan_runtime": None, "damage": "m.onnx: not JSON"}, "metadata is damaged (m.onnx: not JSON)"),
    ],
)
def test_each_doubt_is_one_warning(changes, words):
    found = [text for text in warnings(circumstances(**changes)) if words in text]
    assert len(found) == 1
    assert "\n" not in found[0]


def test_kernels_that_saturate_are_told_of_the_model_and_of_what_it_is_compared_with():
    inexact = Products(kernels="exact for 7 bits", inexact=("stem", "head"), advice="Take another profile.")
    (warning,) = warnings(circumstances(products=inexact))
    assert "2 layers (stem, head) have weights whose products may saturate" in warning
    assert warning.endswith("Take another profile.")
    exact = circumstances(products=Products(kernels="exact: avx_vnni"))
    assert warnings(exact) == ()
    assert products_findings(exact) == ("Integer products of this machine's kernels are exact: avx_vnni.",)
    assert products_findings(circumstances()) == ()
    own, twin = compared(FLOAT_TWIN, (0.48, 0.5, 0.52))
    assert "saturate" not in said((own, twin))
    assert said((own, dataclasses.replace(twin, doubt=inexact.doubt))).endswith("Its time stands, its numbers may not.")
