"""Structures as people keep them: over several lines, one a line, in lists, in LightNAS's configurations."""

from __future__ import annotations

import json
import pprint

import pytest

from qedeploy.errors import UserError
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.lightnas_config import config_values
from qedeploy.network.structure import MAX_BLOCKS, StructureError
from qedeploy.network.structure_file import parse_structures, to_document


def blocks(channels: int = 16) -> list[dict]:
    return [
        {"class": "ConvKXBNRELU", "in": 3, "out": 8, "s": 2, "k": 3, "nbitsA": 8, "nbitsW": 8},
        {
            "class": "SuperQuantResK1DWK1", "in": 8, "out": channels, "s": 2, "k": 3, "L": 1, "btn": 16,
            "nbitsA": [4, 4, 4], "nbitsW": [4, 4, 4],
        },
        {"class": "ConvKXBNRELU", "in": channels, "out": 32, "s": 1, "k": 1, "nbitsA": 4, "nbitsW": 4},
    ]  # fmt: skip


ONE, OTHER = from_blocks(blocks()), from_blocks(blocks(24))
WHOLE = {"space_arch": "CnnNet", "best_structures": [blocks()]}
LITERAL = repr(WHOLE)


def broken_behind(text: str, count: int) -> str:
    """The text with line breaks behind `count` of its commas."""
    places = [index for index, character in enumerate(text) if character == ","]
    for place in reversed(places[:: max(1, len(places) // count)][:count]):
        text = f"{text[: place + 1]}\n{text[place + 1 :]}"
    return text


@pytest.mark.parametrize("count", [1, 2, 5, 20])
@pytest.mark.parametrize("text", [LITERAL, repr(blocks()), json.dumps(blocks()), json.dumps(to_document(ONE))])
def test_how_lines_are_broken_says_nothing(text, count):
    assert [found for _, found in parse_structures(broken_behind(text, count), "x")] == [ONE]


@pytest.mark.parametrize(
    "text",
    [
        "[\n" + ",\n".join(map(repr, blocks())) + "\n]\n",
        "{'best_structures': [[\n" + ",\n".join(map(repr, blocks())) + "]]}",
        pprint.pformat(WHOLE, width=60),
        json.dumps(WHOLE, indent=4),
        "# best of 500,000\n" + LITERAL,
        "\ufeff\n"[1:] + LITERAL + "\r\n",
    ],
)
def test_one_structure_over_many_lines(text):
    assert [found for _, found in parse_structures(text, "x")] == [ONE]


@pytest.mark.parametrize("notation", [repr, json.dumps])
@pytest.mark.parametrize("form", [lambda item: item, lambda item: {"best_structures": [item]}, lambda item: [item]])
def test_one_structure_a_line(notation, form):
    text = "\n".join(notation(form(blocks(channels))) for channels in (16, 24))
    assert list(parse_structures(text, "x")) == [("x:1", ONE), ("x:2", OTHER)]


def test_a_list_of_bare_block_lists():
    assert list(parse_structures(json.dumps([blocks(), blocks(24)]), "x")) == [("x[0]", ONE), ("x[1]", OTHER)]


def test_the_fault_of_a_line_names_it():
    text = f"{json.dumps(blocks())}\n{json.dumps(blocks())[:-40]}\n"
    with pytest.raises(UserError, match=r"^x:2: "):
        list(parse_structures(text, "x"))


FLOAT = [
    {"class": "ConvKXBNRELU", "in": 3, "k": 3, "out": 16, "s": 2},
    {"class": "SuperResK1KXK1", "in": 16, "out": 64, "s": 2, "k": 3, "L": 2, "btn": 24, "inner_class": "ResK1KXK1"},
    {"class": "SuperResK1DWK1", "in": 64, "out": 96, "s": 2, "k": 3, "L": 1, "btn": 32, "inner_class": "ResK1DWK1"},
]


@pytest.mark.parametrize("text", [repr({"best_structures": [FLOAT]}), repr(FLOAT), f"{FLOAT}\n{FLOAT}"])
def test_float_structures_are_named(text):
    with pytest.raises(StructureError) as caught:
        list(parse_structures(text, "x"))
    for word in ("float space", "SuperResK1KXK1", "SuperQuantResK1DWK1", "`qedeploy search`"):
        assert word in str(caught.value)


WITH_NAMES = str(blocks()).replace("[4, 4, 4]", "widths").replace("'nbitsW': 4", "'nbitsW': bit")
CONFIG = f"""
import os
work_dir = os.path.join('a', 'b')
image_size = 160
bit = 4
widths = [bit, bit, bit]
model = dict(type='CnnNet', structure_info={WITH_NAMES})
budgets = [dict(type="flops", budget=109e6), dict(type="layers", budget=-47)]
evil = open('pwned', 'w')
"""


def test_a_configuration_is_read_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((where, found),) = parse_structures(CONFIG, "Mixed.py")
    assert where == "Mixed.py"
    assert found == from_blocks(blocks(), resolution=160)
    assert list(tmp_path.iterdir()) == []
    values = config_values(CONFIG)
    assert values["budgets"] == [{"type": "flops", "budget": 109e6}, {"type": "layers", "budget": -47}]
    assert not {"work_dir", "evil"} & set(values)


@pytest.mark.parametrize(
    "text", ["x = dict(**y)", "x = [" * 200, "x = {1: 2}", "x = -y", "x = {**y}", "def", "x: int = 3"]
)
def test_what_a_configuration_cannot_hold_has_no_value(text):
    assert config_values(text) == {}


def test_more_blocks_than_any_network_has():
    many = blocks()
    many[1] |= {"L": MAX_BLOCKS + 1, "nbitsA": [4] * 3 * (MAX_BLOCKS + 1), "nbitsW": [4] * 3 * (MAX_BLOCKS + 1)}
    with pytest.raises(StructureError, match="expected at most 1000 blocks in all, found 1001"):
        from_blocks(many)
