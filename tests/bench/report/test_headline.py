"""The one line that a person reads: each clause where it belongs, and what became of a target."""

from __future__ import annotations

import dataclasses

import pytest

from qedeploy.bench.gates import TimingVerdict
from qedeploy.bench.report.comparisons import FLOAT_TWIN, W8A8_TWIN
from qedeploy.bench.report.document import BenchResult, ModelFile
from qedeploy.bench.report.headline import TargetVerdict, Tone, headline, title
from qedeploy.bench.report.surroundings import AccuracyRecord, BudgetUse, SearchRecord, Surroundings
from qedeploy.network.structure import Bits
from qedeploy.rulings import Ruling
from qedeploy.runtimes.timing import MAX_VARIATION, TimingProtocol
from tests.bench.report.test_findings import MACHINE, RUNNER, STEADY, compared, profiled, row

UNSTABLE = "this run was unstable, do not quote it"


def result(*rows, models=(), **changes):
    made = BenchResult(
        model=ModelFile(name="model.onnx", sha256="", size_bytes=1, profile="cpu-int8"),
        created="2026-11-25T12:00:00+00:00",
        machine=MACHINE,
        runner=dataclasses.replace(RUNNER, device="CPU"),
        protocol=TimingProtocol(),
        seed=0,
        variation_limit=MAX_VARIATION,
        summary=STEADY,
        compared=models,
        profiled=profiled(*rows),
        totals=None,
        correlations=(),
        time_model=None,
        findings=(),
        warnings=(),
        verdicts=(),
    )
    return dataclasses.replace(made, **changes)


def searched(limit: float, profile: str = "cpu-int8", elsewhere: str | None = None) -> Surroundings:
    budget = BudgetUse(name="latency", label="latency", used=limit, limit=limit, used_text="", limit_text="")
    record = SearchRecord(recipe="r", profile=profile, score=1.0, proof="", budgets=(budget,))
    return Surroundings(elsewhere=elsewhere, search=record)


NARROW = row("head", Bits(weight=5, activation=5))


def test_the_answer_is_the_time_against_float_and_what_the_widths_gain():
    own, floating = compared(FLOAT_TWIN, (0.75, 0.76, 0.77))
    twin = compared(W8A8_TWIN, (0.99, 1.0, 1.01))[1]
    said = headline(result(NARROW, models=(own, floating, twin)))
    assert said.text == "0.76x the time of float32 (1.000 ms a query); narrower widths gain nothing here"
    assert (said.tone, said.target) == (Tone.GOOD, TargetVerdict.NONE)


def test_an_unstable_run_is_not_to_be_quoted():
    said = headline(result(NARROW, summary=dataclasses.replace(STEADY, variation=0.2)))
    assert said.text.endswith(UNSTABLE)
    assert said.tone is Tone.UNSURE
    beside = compared(FLOAT_TWIN, (0.75, 0.76, 0.77), variation=0.2)
    assert headline(result(models=beside)).text.endswith(UNSTABLE)


def test_a_withheld_ratio_is_not_in_the_headline():
    own, other = compared(FLOAT_TWIN, (4.0, 5.61, 7.0), variation=0.9)
    said = headline(result(models=(own, dataclasses.replace(other, withheld="the two vary by 1% and 90%"))))
    assert "the time against float32 is withheld" in said.text
    assert "5.61" not in said.text


@pytest.mark.parametrize(
    ("ratio", "words", "tone"),
    [
        ((0.9, 1.0, 1.1), "no difference in time from float32", Tone.PLAIN),
        ((1.2, 1.3, 1.4), "1.30x the time of float32", Tone.BAD),
    ],
)
def test_a_model_that_is_not_faster_is_not_praised(ratio, words, tone):
    said = headline(result(models=compared(FLOAT_TWIN, ratio)))
    assert words in said.text
    assert said.tone is tone


def test_equal_models_are_no_news_and_others_are_compared():
    own, twin = compared(W8A8_TWIN, (0.6, 0.7, 0.8), executed=128.0)
    assert "0.70x the time of W8A8" in headline(result(models=(own, twin))).text
    equal = dataclasses.replace(twin, totals=own.totals)
    assert "W8A8" not in headline(result(models=(own, equal))).text


@pytest.mark.parametrize(
    ("outcomes", "target", "tone"),
    [
        ((Ruling.PASSED,), TargetVerdict.MET, Tone.GOOD),
        ((Ruling.PASSED, Ruling.WITHHELD), TargetVerdict.OPEN, Tone.UNSURE),
        ((Ruling.PASSED, Ruling.WITHHELD, Ruling.FAILED), TargetVerdict.MISSED, Tone.BAD),
    ],
)
def test_gates_are_a_target_and_the_worst_of_them_counts(outcomes, target, tone):
    verdicts = tuple(
        TimingVerdict(gate=f"p50>{n}ms", outcome=outcome, sentence="") for n, outcome in enumerate(outcomes)
    )
    said = headline(result(verdicts=verdicts))
    assert (said.target, said.tone) == (target, tone)
    assert all(f"p50>{n}ms {outcome}" in said.text for n, outcome in enumerate(outcomes))


def test_a_latency_that_was_searched_for_is_a_target():
    assert headline(result(surroundings=searched(2e-3))).target is TargetVerdict.MET
    missed = headline(result(surroundings=searched(0.5e-3)))
    assert missed.target is TargetVerdict.MISSED
    assert "target missed (1.000 ms measured for 500 us)" in missed.text
    unsure = result(surroundings=searched(2e-3), summary=dataclasses.replace(STEADY, variation=0.2))
    assert headline(unsure).target is TargetVerdict.OPEN
    assert headline(result(surroundings=searched(2e-3, profile="t4-int8"))).target is TargetVerdict.OPEN


def test_a_file_for_another_runtime_says_so_first_and_is_no_success():
    said = headline(result(surroundings=searched(2e-3, elsewhere="TensorRT")))
    assert said.text.startswith("exported for TensorRT, timed on this CPU")
    assert said.tone is Tone.UNSURE
    assert said.target is TargetVerdict.OPEN


def test_what_is_known_of_its_accuracy_is_said_with_the_number_of_images():
    known = AccuracyRecord(top1=0.97222, interval=(0.95, 0.99), images=1360, data="digits", runtime="a runtime")
    assert "; top-1 97.22% of 1,360 images" in headline(result(surroundings=Surroundings(accuracy=known))).text


def test_a_title_names_network_profile_device_and_day():
    assert title(result()) == "model.onnx · cpu-int8 · a processor · 2026-11-25"
    named = result(surroundings=Surroundings(network="Mixed7d0G"))
    assert title(named).startswith("Mixed7d0G (model.onnx) · ")
    gpu = result(runner=dataclasses.replace(RUNNER, device="NVIDIA T4"))
    assert "NVIDIA T4" in title(gpu)
