"""Structure text from outside: what is read, what is refused, and that nothing in it is ever run."""

from __future__ import annotations

import json

import pytest

from qedeploy.network.lightnas import MAX_TEXT, from_blocks, parse_text, to_blocks, to_text
from qedeploy.network.structure import Classifier, StructureError


def blocks(named_golden) -> list[dict]:
    return json.loads(json.dumps(named_golden["mixed7d0G"]["structure"]))


def test_every_notation_of_the_same_list_is_read(named_golden):
    written = blocks(named_golden)
    expected = from_blocks(written)
    for value in (written, [written], {"best_structures": [written], "space_arch": "CnnNet"}):
        assert parse_text(repr(value)) == expected
        assert parse_text(json.dumps(value)) == expected
        assert parse_text(f"\n{value!r}\n\n") == expected


def test_the_first_of_several_is_taken(named_golden):
    first, second = (named_golden[name]["structure"] for name in ("mixed7d0G", "mixed19d2G"))
    assert parse_text(repr({"best_structures": [first, second]})) == from_blocks(first)


def test_text_reads_back(golden):
    for record in golden[:40]:
        structure = from_blocks(record["structure"])
        assert parse_text(to_text(structure)) == structure
        assert to_blocks(structure) == [
            {**block, **({"inner_class": "ResK1DWK1"} if "L" in block else {})} for block in record["structure"]
        ]


def test_classifier_and_resolution_are_the_reader_s(named_golden):
    structure = parse_text(repr(blocks(named_golden)), classifier=Classifier(classes=10), resolution=96)
    assert (structure.classifier.classes, structure.resolution) == (10, 96)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('pathlib').Path('pwned').touch()",
        "[{'class': open('pwned', 'w')}]",
        "[block for block in ()]",
        "9 ** 9 ** 9",
        "'a' * 10 ** 10",
        "f'{1 + 1}'",
    ],
)
def test_expressions_are_refused_and_not_run(expression, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StructureError, match="only literals are read; nothing in it is executed"):
        parse_text(expression)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "[" * 990 + "]" * 990, "-" * 100_000 + "1", "{[]: 1}", "\0", "9" * 10_000, "None", "{}", "b'a'"],
    ids=["parentheses", "lists", "signs", "unhashable", "nul", "digits", "none", "empty", "bytes"],
)
def test_what_is_no_structure_is_one_line(text):
    with pytest.raises(StructureError) as caught:
        parse_text(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_text_beyond_every_structure_is_not_even_parsed():
    with pytest.raises(StructureError, match=f"at most {MAX_TEXT} characters"):
        parse_text("[" + "1," * MAX_TEXT + "]")


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"act": "relu6"}, "block 0: act: expected 'relu', found 'relu6'"),
        (2, {"g": 2}, "block 2: g: expected 1, found 2"),
        (2, {"inner_class": "ResK1KXK1"}, "block 2: inner_class: expected 'ResK1DWK1', found 'ResK1KXK1'"),
        (1, {"se": True}, "block 1: se: unknown key"),
        (6, {"p": 1}, "block 6: p: expected 0, found 1"),
        (3, {"nbitsW": [4] * 8}, "block 3: nbitsW: expected a list of 3 widths"),
        (4, {"in": 72}, "block 4: in: expected 64, the output of the block before, found 72"),
        (5, {"class": "SuperResK1KXK1"}, "block 5: class: expected SuperQuantResK1DWK1"),
    ],
)
def test_a_block_that_computes_something_else_is_named(named_golden, index, change, message):
    written = blocks(named_golden)
    written[index].update(change)
    with pytest.raises(StructureError) as caught:
        parse_text(repr(written))
    assert message in str(caught.value)


def test_the_stride_of_a_block_is_1_where_it_is_not_given(named_golden):
    written = blocks(named_golden)
    del written[6]["s"]
    assert from_blocks(written) == from_blocks(blocks(named_golden))


def test_several_structures_share_a_text(named_golden):
    first, second = (from_blocks(named_golden[name]["structure"]) for name in ("mixed7d0G", "mixed19d2G"))
    assert parse_text(to_text(first, second)) == first
    assert parse_text(to_text(second, first)) == second
