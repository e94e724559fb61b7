"""`qedeploy measure` through the real console script and ONNX Runtime, on a space small enough for seconds."""

from __future__ import annotations

import json
import time

import pytest

from qedeploy.latency.table import Part, read_table
from tests.cli.console import press_ctrl_c, qedeploy, started

JOURNAL = "t.small.measurements.jsonl"


def measure(folder, *arguments, minutes="0.05"):
    given = ("--profile", "cpu-int8", "--recipe", "small.toml", "--minutes", minutes, *arguments)
    return qedeploy("measure", *given, cwd=folder)


def rounds(table):
    # Of parts and of whole networks: which of them a short second run adds depends on what the first one had drawn.
    return sum(point.rounds for point in (*table.points, *table.networks))


@pytest.mark.slow
def test_a_table_is_measured_kept_and_added_to(folder):
    done = measure(folder)
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "data" / "qedeploy" / "latency").glob("*.json")
    assert path.name.startswith("cpu-int8--")
    assert path.name.endswith("--1-thread.json")
    assert str(path) in done.stdout.replace("\n", "")
    table = read_table(path)
    assert {point.shape.part for point in table.points} == set(Part)
    assert table.calibration.networks >= 4
    assert table.settings["threads"] == 1
    assert table.machine["cpu"] == table.device
    assert "qedeploy search --profile cpu-int8 --budget latency=" in done.stdout
    again = measure(folder, "--quiet", minutes="0.15")
    assert (again.returncode, again.stdout) == (0, "")
    more = read_table(path)
    assert {point.shape for point in table.points} <= {point.shape for point in more.points}
    assert rounds(more) > rounds(table)


@pytest.mark.slow
def test_ctrl_c_leaves_a_table_of_what_was_measured(folder):
    command = ("measure", "--profile", "cpu-int8", "--recipe", "small.toml", "--out", "t.json")
    journal, until = folder / JOURNAL, time.monotonic() + 120
    with started(*command, cwd=folder) as process:
        while time.monotonic() < until and process.poll() is None:
            if journal.exists() and journal.read_text().count("\n") > 3:
                break
            time.sleep(0.05)
        assert "the same command adds to it" in press_ctrl_c(process)
    table = read_table(folder / "t.json")
    assert len(table.points) > 5
    assert table.recipes == ("small",)
    other = measure(folder, "--out", "t.json", "--threads", "2")
    assert other.returncode == 2
    assert "threads 1 instead of 2: repeat those settings, name another file, or add --fresh" in other.stderr
    assert other.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--profile", "stm32f746-cmix"), 3, "profile stm32f746-cmix is for search only"),
        (("--profile", "cpu-int9"), 2, "did you mean cpu-int8?"),
        (("--profile", "t4-int8"), 4, "TensorRT"),
        (("--profile", "cpu-int8", "--out", "small.txt"), 2, "expected a file that ends in .json"),
        (("--profile", "cpu-int8", "--out", "/proc/none/t.json"), 2, "cannot be written"),
        (("--profile", "cpu-int8", "--recipe", "none.toml"), 2, "none.toml"),
        (("--profile", "cpu-int8", "--cluster", "nonsense"), 2, "no scheduler answers there"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(folder, arguments, code, message):
    done = qedeploy("measure", "--minutes", "0.05", *arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


def test_a_foreign_journal_is_not_overwritten(folder):
    (folder / JOURNAL).write_text(json.dumps({"mine": 1}) + "\n")
    done = measure(folder, "--out", "t.json")
    assert done.returncode == 2
    assert "move the file away" in done.stderr
    assert not (folder / "t.json").exists()
