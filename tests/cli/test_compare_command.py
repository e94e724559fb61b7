"""`qedeploy compare` through the real console script, on runs that the tool itself wrote."""

from __future__ import annotations

import json

import pytest

from qedeploy import api
from tests.campaign.accuracy.small import write_digits
from tests.cli.console import qedeploy


@pytest.mark.slow
def test_runs_are_compared_by_what_bench_and_search_wrote(folder):
    data = write_digits(folder / "digits.npz")
    recipe = str(folder / "small.toml")
    for name in ("runs/a", "runs/b"):
        found = api.search("cpu-int8", recipe, folder=folder / name)
        exported = api.export(found.model, folder / name / "model.onnx").model
    api.bench(exported, data=data, seconds=0.02, warm_up=0, twins=False, keep=True)
    done = qedeploy("compare", "runs/a", "runs/b", cwd=folder)
    assert done.returncode == 0, done.stderr
    for words in ("Pareto", "150 images", "runs/a: no time and accuracy", "bench runs/a/model.onnx"):
        assert words in " ".join(done.stdout.split()), "the caption wraps at the table's width, which the times set"
    assert {path.name for path in (folder / "runs").iterdir()} >= {"compare.json", "compare.svg", "compare.html"}
    printed = qedeploy("compare", "runs/a", "runs/b", "--json", cwd=folder)
    assert json.loads(printed.stdout) == json.loads((folder / "runs" / "compare.json").read_text())
    assert qedeploy("compare", "runs", "--quiet", cwd=folder).stdout == ""


def test_no_run_is_told_in_one_line(folder):
    done = qedeploy("compare", "nowhere", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere: no such folder" in done.stderr
