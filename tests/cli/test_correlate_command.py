"""`qedeploy correlate` through the real console script and ONNX Runtime, on a space small enough for seconds."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from qedeploy.latency.table import write_table
from tests.campaign.accuracy.small import write_digits, write_recipe
from tests.cli.console import press_ctrl_c, qedeploy, started
from tests.latency.laws import table

ASKED = ("correlate", "--profile", "cpu-int8", "--recipe", "small.toml", "--networks", "4")


@pytest.mark.slow
def test_networks_are_measured_and_estimates_compared(folder):
    write_table(folder / "t.json", table(bottleneck_multiple=16, reference_seconds=1e-4))
    done = qedeploy(*ASKED, "--latency-table", "t.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    for words in ("nominal BitOps", "executed BitOps", "latency table", "4 networks", "reference graph took"):
        assert words in done.stdout
    (out,) = (folder / "runs").iterdir()
    assert out.name.startswith("cpu-int8-correlation-")
    assert {path.name for path in out.iterdir()} == {"correlation.json", "correlation.svg", "correlation.csv"}
    written = json.loads((out / "correlation.json").read_text())
    assert len(written["networks"]) == 4
    assert [item["estimate"] for item in written["agreements"]][-1] == "latency table"
    assert written["latency_table"]["name"] == "t.json"


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured(folder):
    journal, until = folder / "c" / "correlation.measurements.jsonl", time.monotonic() + 120
    with started(*ASKED, "--networks", "5", "--out", "c", cwd=folder) as process:
        while time.monotonic() < until and process.poll() is None and not journal.exists():
            time.sleep(0.05)
        assert "the same command goes on" in press_ctrl_c(process)
    again = qedeploy(*ASKED, "--networks", "5", "--out", "c", "--seed", "1", cwd=folder)
    assert again.returncode == 2
    assert "repeat those settings" in again.stderr
    done = qedeploy(*ASKED, "--networks", "5", "--out", "c", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "qedeploy measure --profile cpu-int8" in done.stdout
    assert not journal.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--profile", "stm32f746-cmix"), 3, "profile stm32f746-cmix is for search only"),
        (("--profile", "cpu-int9"), 2, "did you mean cpu-int8?"),
        (("--profile", "t4-int8"), 4, "TensorRT"),
        (("--profile", "cpu-int8", "--out", "small.toml"), 2, "expected a folder, found a file"),
        (("--profile", "cpu-int8", "--latency-table", "small.toml"), 2, "small.toml: not valid JSON"),
        (("--profile", "cpu-int8", "--cluster", "nonsense"), 2, "no scheduler answers there"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(folder, arguments, code, message):
    done = qedeploy("correlate", "--networks", "3", *arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


@pytest.mark.slow
def test_networks_are_trained_and_a_killed_study_goes_on(folder):
    write_recipe(folder)
    write_digits(folder / "digits.npz")
    asked = [
        *("correlate", "--accuracy", "--profile", "any-bits", "--recipe", "small.toml", "--data", "digits.npz"),
        *("--budget", "bitops=8M", "--networks", "3", "--epochs", "1", "--float-epochs", "0", "--seeds", "1"),
        *("--arm", "widths-fixed", "--no-flip", "--out", "study"),
    ]
    journal, until = folder / "study" / "correlation.trainings.jsonl", time.monotonic() + 120
    with started(*asked, cwd=folder) as process:
        while time.monotonic() < until and process.poll() is None and not journal.exists():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    before = journal.read_text().splitlines()[:2]
    done = qedeploy(*asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert journal.read_text().splitlines()[:2] == before
    assert len(journal.read_text().splitlines()) == 1 + 3
    for words in ("widths-fixed: 3 networks", "One seed", "The score orders accuracy", "layers"):
        assert words in done.stdout
    assert json.loads((folder / "study" / "correlation.json").read_text())["seeds"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--accuracy",), "--accuracy: nothing can be trained without pictures: expected --data DIR as well"),
        (("--epochs", "3"), "--epochs: only networks that are trained have it: add --accuracy"),
        (("--budget", "bitops=8M"), "--budget: only networks that are trained have it: add --accuracy"),
        (("--accuracy", "--data", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_options_of_trainings_belong_together(folder, arguments, message):
    done = qedeploy("correlate", "--profile", "any-bits", *arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr


def test_too_few_networks_are_wrong_usage(folder):
    done = qedeploy("correlate", "--profile", "cpu-int8", "--networks", "2", cwd=folder)
    assert done.returncode == 2
    assert "--networks" in done.stderr
