"""`qedeploy bench` as a user runs it: files, exit codes, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.cli import main
from qedeploy.train.evaluate import evaluate
from tests.bench.graphs import convolution, exported, relu
from tests.cli.console import qedeploy

BRIEF = ("--duration", "100ms", "--warm-up", "10ms")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench-command")
    exported(folder / "model.onnx")
    convolution(folder / "plain.onnx")
    relu(folder / "other.onnx")
    (folder / "text.onnx").write_text("not a model\n")
    (folder / "search").mkdir()
    relu(folder / "search" / "model.onnx")
    return folder


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the command in this process: `(exit code, standard output, standard error)`."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qedeploy", "bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main.main()
        captured = capfd.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return call


def test_the_console_script_writes_both_files_beside_the_model(folder):
    done = qedeploy("bench", "model.onnx", *BRIEF, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "median on ONNX Runtime" in done.stdout
    assert "W5A5 is carried in INT8" in done.stdout
    assert "Longest of" in done.stdout
    assert "Spearman" not in done.stdout
    wrote, verdict = done.stdout.splitlines()[-2:]
    assert wrote == "wrote bench.json and report.html"
    assert " a query" in verdict
    assert read_result(folder / "bench.json").model.name == "model.onnx"
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_pictures_put_accuracy_beside_time(folder, run, tmp_path):
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (30, 16, 16, 3), np.uint8), np.arange(30) % 10
    np.savez(tmp_path / "noise.npz", images=images, labels=labels)
    out = tmp_path / "out"
    code, text, _ = run(folder / "model.onnx", "--no-twins", *BRIEF, "--data", tmp_path / "noise.npz", "--out", out)
    assert code == 0
    found = read_result(out / "bench.json").surroundings.accuracy
    expected = evaluate(folder / "model.onnx", tmp_path / "noise.npz").judged
    assert (found.top1, found.images, found.runtime) == (expected.top1.value, 30, expected.runtime)
    assert f"top-1 {expected.top1} of noise.npz; this very file, by ONNX Runtime" in " ".join(text.split())
    assert "ImageNet's mean" in text
    assert f"top-1 {expected.top1}" in (out / "report.html").read_text()
    assert json.loads((out / "accuracy.json").read_text())["model"]["top1"]["right"] == expected.top1.right


def test_pictures_that_do_not_fit_are_refused_before_anything_is_timed(folder, run, tmp_path):
    np.savez(tmp_path / "two.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
    code, _, error = run(folder / "model.onnx", "--data", tmp_path / "two.npz", "--out", tmp_path / "out")
    assert code == 2
    assert "2 classes (0, 1), and the network has 10" in error
    assert not (tmp_path / "out").exists()


def test_details_are_for_who_asks_and_silence_too(folder, run, tmp_path):
    code, out, _ = run(folder / "model.onnx", *BRIEF, "--no-twins", "--out", tmp_path, "--verbose")
    assert code == 0
    assert "stage1.block1.depthwise" in out
    assert "Spearman" in out
    code, out, error = run(folder / "model.onnx", *BRIEF, "--no-twins", "--out", tmp_path, "--quiet")
    assert (code, out, error) == (0, "", "")


def test_an_earlier_report_is_kept_under_its_date_and_named(folder, run, tmp_path):
    plain = (folder / "plain.onnx", *BRIEF, "--out", tmp_path)
    run(*plain)
    first = (tmp_path / "bench.json").read_text(), (tmp_path / "report.html").read_text()
    _, out, _ = run(*plain)
    run(*plain)
    kept = sorted(path.name for path in tmp_path.iterdir() if path.name not in {"bench.json", "report.html"})
    assert len(kept) == 4
    assert all(re.fullmatch(r"(bench|report)-\d{8}-\d{6}(-\d+)?\.(json|html)", name) for name in kept)
    said = next(line for line in out.splitlines() if line.startswith("kept earlier results as "))
    named = [Path(name) for name in said.removeprefix("kept earlier results as ").split(", ")]
    assert tuple(path.read_text() for path in named) == first


def test_json_is_what_the_file_holds(folder, run, tmp_path):
    code, out, _ = run(folder / "plain.onnx", *BRIEF, "--out", tmp_path / "new" / "folder", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "new" / "folder" / "bench.json").read_text())


def test_gates_end_with_three_once_the_results_are_written(folder, run, tmp_path):
    gates = ("--fail-if", "p50>1us", "--fail-if", "p50>1min", "--max-variation", "1e6")
    code, out, error = run(folder / "plain.onnx", *BRIEF, "--out", tmp_path, *gates)
    assert code == 3
    assert error.strip().splitlines()[-1].startswith("error: gate p50>1us failed: ")
    assert "gate p50>1min passed" in out
    assert [verdict.outcome for verdict in read_result(tmp_path / "bench.json").verdicts] == ["failed", "passed"]


def test_an_unstable_run_withholds_its_verdict_with_three(folder, run, tmp_path):
    code, _, error = run(
        folder / "plain.onnx", *BRIEF, "--out", tmp_path, "--fail-if", "p50>1min", "--max-variation", "0"
    )
    assert code == 3
    assert "verdict withheld" in error


BAD = {
    "a missing file": (("missing.onnx",), 2, "missing.onnx: cannot be read"),
    "a text file": (("text.onnx",), 2, "text.onnx: not an ONNX model"),
    "a folder": (("search",), 2, "search: is a folder, expected a model"),
    "a checkpoint": (("model.pth",), 2, "model.pth: cannot be measured: expected one of: "),
    "an operator in the gate": (("plain.onnx", "--fail-if", "p50=4ms"), 2, "--fail-if 'p50=4ms'"),
    "a ratio of one model": (("plain.onnx", "--fail-if", "p50>1.05x"), 2, "--against"),
    "other inputs": (("plain.onnx", "--against", "other.onnx"), 2, "other.onnx: expected the measured model's inputs"),
    "a time": (("plain.onnx", "--duration", "soon"), 2, "--duration: expected a time"),
    "a batch that is fixed": (("other.onnx", "--batch", "3"), 2, "expected --batch 1, found --batch 3"),
    "a room of qedeploy": (("search/model.onnx",), 2, "name another folder for results with --out"),
    "a file as folder": (("plain.onnx", "--out", "text.onnx"), 2, "expected a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, folder, run, monkeypatch):
    arguments, expected_code, expected = BAD[case]
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, out, error = run(*arguments)
    assert code == expected_code
    assert out == ""
    lines = [line for line in error.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert expected in lines[0]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_before_measuring(folder, run, tmp_path):
    tmp_path.chmod(0o500)
    code, _, error = run(folder / "plain.onnx", "--out", tmp_path)
    assert code == 2
    assert "no permission" in error
