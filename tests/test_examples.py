"""The examples run as they stand, and turn into notebooks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_becomes_a_notebook(example, tmp_path):
    notebook = jupytext.read(example)
    jupytext.write(notebook, tmp_path / "example.ipynb")
    written = nbformat.read(tmp_path / "example.ipynb", as_version=4)
    nbformat.validate(written)
    kinds = [cell.cell_type for cell in written.cells]
    assert set(kinds) == {"code", "markdown"}
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") > 2
    for cell in written.cells:
        if cell.cell_type == "code":
            compile(cell.source, example.name, "exec")


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
