"""Runs beside each other: what their files say, which groups they fall in, and which of them nothing beats."""

from __future__ import annotations

import json
import re

import pytest

from qedeploy import api
from qedeploy.campaign.comparison.comparing import compared
from qedeploy.campaign.comparison.reading import read_runs
from qedeploy.campaign.comparison.report import document, known_of, row
from qedeploy.errors import UserError


def bench(milliseconds, *, sha="aa", cpu="Some CPU", device="CPU", variation=0.01, version="1.0"):
    return {
        "format": "qedeploy-bench/1",
        "model": {"name": "model.onnx", "sha256": sha, "size_bytes": 1, "profile": "cpu-int8"},
        "machine": {"cpu": cpu},
        "runner": {"runtime": "ONNX Runtime", "version": version, "device": device, "threads": 1, "batch": 1},
        "summary": {"median": milliseconds / 1e3, "variation": variation},
        "variation_limit": 0.025,
    }


def accuracy(top1, *, sha="aa", fingerprint="f", file="model.onnx"):
    share = {"value": top1, "right": round(1000 * top1), "count": 1000, "low": top1 - 0.02, "high": top1 + 0.02}
    return {
        "format": "qedeploy-accuracy/1",
        "model": {"file": file, "sha256": sha, "runtime": "ONNX Runtime 1.0 on CPU", "top1": share, "top5": None},
        "data": {"path": "/somewhere/pictures", "fingerprint": fingerprint, "images": 1000},
    }


def write(folder, **documents):
    folder.mkdir(parents=True)
    for name, content in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "model.onnx").write_bytes(b"")
    return folder


def test_the_front_has_the_runs_that_none_is_as_fast_and_as_accurate_as(tmp_path):
    figures = {"a": (1.0, 0.70), "b": (2.0, 0.80), "slow": (3.0, 0.80), "worse": (2.5, 0.75), "d": (4.0, 0.90)}
    for name, (time, top1) in figures.items():
        write(tmp_path / name, bench=bench(time), accuracy=accuracy(top1))
    (group,) = compared(read_runs([tmp_path])).groups
    assert [placed.run.folder.name for placed in group.runs] == ["a", "b", "worse", "slow", "d"]
    assert {placed.run.folder.name for placed in group.runs if placed.best} == {"a", "b", "d"}
    assert row(group.runs[0]).latency == "1 ms"
    assert row(group.runs[0]).interval == "68.00% to 72.00%"


def test_equal_runs_are_both_on_the_front(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, bench=bench(1.0), accuracy=accuracy(0.7))
    (group,) = compared(read_runs([tmp_path])).groups
    assert all(placed.best for placed in group.runs)


@pytest.mark.parametrize(
    ("time", "right"),
    [
        ({"cpu": "Another CPU"}, {}),
        ({"device": "NVIDIA T4"}, {}),
        ({}, {"fingerprint": "other images"}),
    ],
)
def test_other_devices_and_images_are_never_mixed(tmp_path, time, right):
    write(tmp_path / "a", bench=bench(1.0), accuracy=accuracy(0.9))
    write(tmp_path / "b", bench=bench(2.0, **time), accuracy=accuracy(0.7, **right))
    found = compared(read_runs([tmp_path]))
    assert len(found.groups) == 2
    assert all(placed.best for group in found.groups for placed in group.runs)
    assert "2 groups: another device" in found.notes[0]


def test_what_is_shaky_is_told(tmp_path):
    write(tmp_path / "a", bench=bench(1.0, variation=0.3), accuracy=accuracy(0.9))
    write(tmp_path / "b", bench=bench(1.0, version="2.0"), accuracy=accuracy(0.9))
    found = compared(read_runs([tmp_path]))
    (group,) = found.groups
    assert any("versions 1.0 and 2.0" in note for note in found.notes)
    assert any(re.search(r"varied more than allowed: \S+/a$", note) for note in found.notes)
    assert row(next(one for one in group.runs if one.run.folder.name == "a")).latency == "1 ms (varies)"


def test_a_run_without_time_or_accuracy_gets_the_command_that_gives_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = {"format": "qedeploy-train/1", "result": {"test_top1": 0.81, "test_images": 397}}
    write(tmp_path / "runs" / "timed", bench=bench(1.0), search={"format": "qedeploy-search/1", "score": 12.5})
    write(tmp_path / "runs" / "timed" / "trained", train=trained)
    write(tmp_path / "runs" / "counted", accuracy=accuracy(0.7))
    write(
        tmp_path / "runs" / "other file", bench=bench(1.0, sha="aa"), accuracy=accuracy(0.7, sha="bb", file="model.pth")
    )
    write(tmp_path / "runs" / "searched", search={"format": "qedeploy-search/1", "score": 12.5})
    (tmp_path / "runs" / "searched" / "model.onnx").unlink()
    (tmp_path / "runs" / "searched" / "model.pth").write_bytes(b"")
    found = compared(read_runs([path.relative_to(tmp_path) for path in sorted((tmp_path / "runs").iterdir())]))
    lacking = {one.run.folder.name: one for one in found.lacking}
    assert {name: (one.missing, one.command) for name, one in lacking.items()} == {
        "timed": ("accuracy", "qedeploy evaluate runs/timed/model.onnx --data DIR"),
        "counted": ("time", "qedeploy bench runs/counted/model.onnx"),
        "other file": (
            "accuracy of model.onnx: model.pth was counted, which is another file",
            "qedeploy evaluate 'runs/other file/model.onnx' --data DIR",
        ),
        "searched": ("time and accuracy", "qedeploy export runs/searched/model.pth"),
    }
    assert "81.00% of 397 images in training, by PyTorch" in known_of(lacking["timed"])
    assert lacking["searched"].run.score == 12.5


def test_documents_that_are_broken_or_others_are_told_and_passed_over(tmp_path):
    folder = write(tmp_path / "a", bench=bench(1.0), accuracy={"format": "something/1"}, search=["no", "table"])
    (folder / "train.json").write_text("{")
    write(tmp_path / "b", bench={"format": "qedeploy-bench/1", "model": {}}, accuracy=accuracy(0.7))
    found = compared(read_runs([tmp_path]))
    assert len(found.lacking) == 2
    text = " ".join(found.notes)
    for words in ("accuracy.json: expected qedeploy-accuracy/1", "search.json: expected", "train.json: not valid JSON"):
        assert words in text
    assert "bench.json: is not whole" in text


def test_a_comparison_is_written_as_json_svg_and_a_page(tmp_path):
    write(tmp_path / "runs" / "<b>", bench=bench(1.0), accuracy=accuracy(0.9))
    write(tmp_path / "runs" / "lacks", bench=bench(1.0))
    (tmp_path / "runs" / "notes.txt").write_text("a file that runs/* finds as well")
    paths = list((tmp_path / "runs").iterdir())
    found, written = api.compare(paths, folder=tmp_path / "out")
    assert [path.name for path in written] == ["compare.json", "compare.svg", "compare.html"]
    assert json.loads(written[0].read_text()) == document(found)
    assert json.loads(written[0].read_text())["groups"][0]["runs"][0]["pareto"] is True
    page = written[2].read_text()
    assert page.count("<svg") == 1
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "qedeploy evaluate" in page
    again, files = api.compare([tmp_path / "runs"])
    assert (len(again.runs), files) == (2, ())


def test_no_run_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"no run in there: expected folders with bench.json"):
        read_runs([tmp_path])
