"""A class's name means one thing in the whole package, and no two modules import each other, by whatever detour."""

from __future__ import annotations

import ast
from collections import defaultdict
from graphlib import TopologicalSorter

import grimp

from tests.minimal_installation import ROOT


def test_no_two_public_classes_have_one_name():
    places = defaultdict(list)
    for path in sorted((ROOT / "qedeploy").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_modules_have_an_order_in_which_each_imports_those_before_it_alone():
    """Imports for types and those within functions count; `prepare` raises CycleError naming the cycle."""
    graph = grimp.build_graph("qedeploy")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports["qedeploy.search.exact.solver"]) > 3
    TopologicalSorter(imports).prepare()
