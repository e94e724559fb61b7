"""Names that others gave, in the drawings: shown as they are, not read as formulas, controls or marks."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest

from qedeploy.campaign.quantization.plots import draw_sensitivity
from qedeploy.files import write_text
from qedeploy.search.costs.budgets.counted import BITOPS
from qedeploy.search.exact.front_files import draw_front
from qedeploy.search.exact.pareto import Front, FrontPoint
from qedeploy.search.request import make_request
from qedeploy.train.class_report import ClassAccuracy, ClassAnswers, confusion_svg
from tests.model.structures import tiny_structure


def of_two_classes(name: str) -> ClassAnswers:
    """Four images of two classes, one of them of that name."""
    classes = tuple(ClassAccuracy(name=one, right=2, count=2, also=0) for one in (name, "b"))
    return ClassAnswers.of(classes, [[2, 0], [0, 2]])


@pytest.mark.parametrize(
    "name",
    [r"$\frac{$", "$x$", "[/red]", "\x1b[31m", "a\u202eb", "\udcff", "</svg>", "n" * 300, "a\nb", "%"],
)
def test_drawings_hold_the_names_of_others_and_obey_none(name, tmp_path):
    request = make_request("any-bits", "mixed-7d0g")
    named = dataclasses.replace(request, recipe=dataclasses.replace(request.recipe, name=name))
    point = FrontPoint(cost=1e9, score=1.0, upper_bound=1.0, structure=tiny_structure())
    drawn = [
        draw_sensitivity(tmp_path / "s.svg", [name, "b"], {"loss": [(1.0, 0.1), (2.0, 0.1)]}, [name, name]),
        draw_front(tmp_path / "f.svg", Front(kind=BITOPS, points=(point,), whole=True), named),
        write_text(tmp_path / "c.svg", confusion_svg(of_two_classes(name))),
    ]
    for path in drawn:
        assert ElementTree.fromstring(path.read_text(encoding="utf-8")).tag.endswith("svg")
