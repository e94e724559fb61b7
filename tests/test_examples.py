"""The examples run as they stand, and are notebooks: cells of code and of text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_cells(example):
    head, *cells = example.read_text().split("# %%")
    assert head == ""
    text = [cell for cell in cells if cell.startswith(" [markdown]\n")]
    code = [cell for cell in cells if cell.startswith("\n")]
    assert len(text) + len(code) == len(cells)
    assert len(text) > 2
    assert all(line.startswith("#") or not line for cell in text for line in cell.splitlines()[1:])
    for cell in code:
        compile(cell, example.name, "exec")


@pytest.mark.slow
def test_search_to_report_leaves_its_report(tmp_path):
    script = ROOT / "examples" / "search_to_report.py"
    command = [sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "optimal: none scores above" in done.stdout
    assert "claims hold" in done.stdout
    folder = tmp_path / "search-to-report"
    names = {path.name for path in folder.iterdir()}
    assert {"search.json", "structure.json", "model.pth", "model.onnx", "bench.json", "report.html"} <= names
    bench = json.loads((folder / "bench.json").read_text())
    assert f"median {bench['summary']['median'] * 1e3:.2f} ms" in done.stdout
    assert {"stem", "head", "classifier"} <= {row["name"] for row in bench["profiled"]["layers"]}
