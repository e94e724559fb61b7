"""What a search is asked and what it writes: documents that say everything, twice the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from qedeploy.errors import UserError
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.structure import Bits
from qedeploy.network.structure_file import read_structures
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, SIZE
from qedeploy.search.costs.budgets.planned import SRAM
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.request import make_request, parse_overrides
from qedeploy.search.result import (
    SearchResult,
    result_folder,
    score_is_blind,
    search_document,
    settings_document,
    write_result,
)
from qedeploy.search.space.recipe_file import recipe_from_document
from qedeploy.search.warnings import search_warnings, warnings
from qedeploy.train.weights import with_bits
from tests.model.structures import tiny_structure


def made_by(structure):
    return SearchResult(method="evolution", settings={"seed": 1}, structure=structure, evaluations=10)


@pytest.fixture
def mixed(named_golden):
    return from_blocks(named_golden["mixed7d0G"]["structure"])


def test_search_json_says_what_was_asked_and_what_it_costs(mixed, named_golden):
    request = make_request("t4-int8", "mixed-7d0g", {SIZE: 2.2e6})
    document = search_document(request, made_by(mixed))
    golden = named_golden["mixed7d0G"]
    assert document["score"] == pytest.approx(golden["score"], rel=1e-12)
    assert document["flops"] == pytest.approx(golden["flops"], rel=1e-12)
    assert document["bitops"] == 64 * document["flops"]
    assert document["executed_bitops"] > document["bitops"]
    assert document["budgets"]["flops"] == {"limit": 109e6, "source": "recipe", "used": document["flops"]}
    assert document["budgets"]["size"]["source"] == "user"
    assert document["method"] == {"name": "evolution", "seed": 1}
    recipe = {key: value for key, value in document["recipe"].items() if key != "name"}
    assert recipe_from_document(recipe, name="mixed-7d0g", source="search.json") == request.recipe
    assert json.loads(json.dumps(document))["budgets"] == document["budgets"]


def test_a_limit_of_the_device_is_named_as_such():
    request = make_request("stm32h743")
    assert request.budget_sources[SRAM] == "profile"
    assert request.budget_sources[EXECUTED_BITOPS] == "recipe"


def test_both_files_lead_back_to_the_structure(tmp_path, mixed):
    write_result(tmp_path, make_request("any-bits", "mixed-7d0g"), made_by(mixed))
    for name in ("structure.json", "search.json"):
        assert [structure for _, structure in read_structures(tmp_path / name)] == [mixed]


def test_a_folder_is_found_again_by_the_same_settings_only():
    folders = []
    for seed, limits in ((1, {}), (1, {}), (2, {}), (1, {SIZE: 1e6})):
        request = make_request("cpu-int8", None, limits)
        folders.append(result_folder(request, settings_document(request, "evolution", {"seed": seed})))
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3
    assert all(folder.parent == Path("runs") and folder.name.startswith("cpu-int8-k1dwk1-224-") for folder in folders)


def test_resolution_and_classes_replace_the_recipes(mixed):
    assert make_request("any-bits", "mixed-7d0g", resolution=160).space.resolution == 160
    assert make_request("any-bits", "mixed-7d0g", classes=10).space.classifier.classes == 10


def test_warnings_say_what_the_figures_hide(mixed):
    carried = warnings(make_request("t4-int8", "mixed-7d0g"), mixed)
    assert len(carried) == 1
    assert "t4-int8 computes" in carried[0]
    assert warnings(make_request("any-bits", "mixed-7d0g"), mixed) == []


def test_widths_of_a_device_that_no_layer_got_are_named_with_the_reason():
    request = make_request("t4-int4")
    eight = tiny_structure(Bits(weight=8, activation=8))
    (unused,) = [text for text in warnings(request, eight) if "no layer with a choice got" in text]
    assert unused.startswith("no layer with a choice got W4A16: it scores less than W8A8 and costs as many BitOps")
    assert "--budget size" in unused
    four = with_bits(
        eight,
        {
            layer.name: Bits(weight=4, activation=16) if str(layer.category) in {"pointwise", "head"} else layer.bits
            for layer in expand_layers(eight)
        },
    )
    assert [text for text in warnings(request, four) if "no layer with a choice got" in text] == [
        "no layer with a choice got W8A8: it scores more than W4A16, and what it costs more does not pay within "
        "the limits"
    ]


def test_only_eight_bits_leave_the_score_blind():
    assert score_is_blind(make_request("cpu-int8").space)
    assert not score_is_blind(make_request("cpu-int8", "mixed-7d0g").space)


def test_executed_costs_are_those_of_the_profile(mixed):
    request = make_request("t4-int8", "mixed-7d0g")
    costs = budget_costs(mixed, request.space)
    plain = budget_costs(mixed, make_request("any-bits", "mixed-7d0g").space)
    assert plain[EXECUTED_BITOPS] == plain[BITOPS] == costs[BITOPS]


def test_a_budget_given_twice_is_refused():
    with pytest.raises(UserError, match="budget size: expected one limit"):
        parse_overrides(["size=1MB", "bitops=7G", "size=2MB"])


def test_a_near_miss_of_a_budget_is_named():
    with pytest.raises(UserError, match="did you mean bitops"):
        parse_overrides(["bitop=7G"])


def test_limits_meant_for_pictures_of_another_size_are_named_with_those_that_fit():
    def said(*arguments):
        return [
            text for text in search_warnings(make_request(*arguments), made_by(tiny_structure())) if "pixels" in text
        ]

    (found,) = said("any-bits", "mixed-7d0g", None, 112)
    assert "meant for pictures of 224 pixels" in found
    assert "limit flops=109M" in found
    assert "--budget flops=27.25M" in found  # A quarter, as there are a quarter of the pixels.
    assert not said("any-bits", "mixed-7d0g", None, 224)
    assert not said("any-bits", "mixed-7d0g", {FLOPS: 109e6}, 112)


def test_an_evolution_that_ended_far_from_its_limits_says_so():
    request = make_request("any-bits", "mixed-7d0g", {BITOPS: 7e9})
    ended = made_by(tiny_structure())
    (said,) = [text for text in search_warnings(request, ended) if "did not converge" in text]
    assert "of its tightest limit" in said
    assert "--evaluations" in said
    costs = budget_costs(ended.structure, request.space)
    near = make_request("any-bits", "mixed-7d0g", {kind: costs[kind] / 0.95 for kind in request.budgets})
    assert not [text for text in search_warnings(near, ended) if "did not converge" in text]
    exact = dataclasses.replace(ended, method="exact")
    assert not [text for text in search_warnings(request, exact) if "did not converge" in text]
