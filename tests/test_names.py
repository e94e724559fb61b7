"""A class's name means one thing in the whole package, so that a reader who met it once knows it everywhere."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.minimal_installation import ROOT


def test_no_two_public_classes_have_one_name():
    places = defaultdict(list)
    for path in sorted((ROOT / "qedeploy").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
