"""Structures go back to LightNAS: written as its text, read again by the commands that take it."""

from __future__ import annotations

import json

from qedeploy.network.structure_file import read_structures
from tests.cli.console import qedeploy


def test_a_search_result_goes_back_to_lightnas(tmp_path):
    arguments = ["--profile", "any-bits", "--recipe", "mixed-7d0g", "--no-model", "--out", "a"]
    arguments += ["--method", "evolution", "--evaluations", 2000]
    done = qedeploy("search", *arguments, "--format", "lightnas", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ((_, found),) = read_structures(tmp_path / "a" / "structure.json")
    ((_, text),) = read_structures(tmp_path / "a" / "best_structure.txt")
    assert text == found
    scored = qedeploy("score", "a/best_structure.txt", "a/structure.json", "--json", cwd=tmp_path)
    first, second = (json.loads(line) for line in scored.stdout.splitlines())
    assert {**first, "file": ""} == {**second, "file": ""}
    printed = qedeploy("score", "a/structure.json", "--lightnas", cwd=tmp_path)
    assert printed.stdout == (tmp_path / "a" / "best_structure.txt").read_text()
