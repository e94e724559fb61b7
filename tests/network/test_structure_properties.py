import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.network.costs import (
    BITOPS_PER_FLOP,
    convolutions,
    executed_bitops,
    layer_flops,
    layer_size_bytes,
    memory_bytes,
    structure_costs,
)
from qedeploy.network.layers import Position, expand_layers
from qedeploy.network.lightnas import parse_text, to_text
from qedeploy.network.structure import Bits, Block, Stage, Structure
from qedeploy.network.structure_file import from_document, parse_structures, to_document
from tests.network.structures import structures


@given(structures())
def test_a_document_reads_back_equal(structure):
    document = json.loads(json.dumps(to_document(structure)))
    assert from_document(document, "structure.json") == structure


@given(structures())
def test_lightnas_text_reads_back_equal(structure):
    found = parse_text(to_text(structure), classifier=structure.classifier, resolution=structure.resolution)
    assert found == structure


@given(st.lists(structures(), min_size=1, max_size=3))
def test_many_structures_in_a_file_come_back_in_order(found):
    documents = [to_document(structure) for structure in found]
    for text in ("\n".join(map(json.dumps, documents)), json.dumps(documents), json.dumps(documents, indent=1)):
        assert [structure for _, structure in parse_structures(text, "many")] == found


@given(structures(st.just(224)))
def test_lightnas_text_lines_come_back_in_order(structure):
    plain = dataclasses.replace(structure, classifier=dataclasses.replace(structure.classifier, classes=1000))
    text = to_text(plain).strip()
    found = [item for _, item in parse_structures(f"{text}\n\n{text}\n", "many", classifier=plain.classifier)]
    assert found == [plain, plain]


@given(structures())
def test_layers_chain_and_have_unique_names(structure):
    layers = expand_layers(structure)
    assert len({layer.name for layer in layers}) == len(layers)
    for before, after in itertools.pairwise(layers):
        assert after.in_channels == before.out_channels
        if after.position is not Position.CLASSIFIER:
            assert after.input_size == before.output_size
            assert after.nominal_size == before.nominal_size / before.stride


@given(structures())
def test_totals_are_sums_over_layers(structure):
    counted = convolutions(expand_layers(structure))
    costs = structure_costs(structure)
    assert costs.layers == len(counted) == 2 + 3 * sum(len(stage.blocks) for stage in structure.stages)
    assert costs.bitops == BITOPS_PER_FLOP * costs.flops
    assert math.isclose(costs.flops, math.fsum(map(layer_flops, counted)), rel_tol=1e-12)
    assert math.isclose(costs.size_bytes, math.fsum(map(layer_size_bytes, counted)), rel_tol=1e-12)
    assert costs.peak_memory_bytes == max(memory_bytes(counted))


@given(structures())
def test_executed_bitops_are_nominal_where_the_device_computes_in_the_layers_own_widths(structure):
    own = {layer.name: layer.bits for layer in expand_layers(structure)}
    nominal = structure_costs(structure).bitops
    assert math.isclose(executed_bitops(structure, own), nominal, rel_tol=1e-12)
    assert math.isclose(executed_bitops(structure, {}), nominal, rel_tol=1e-12)


def with_bits(structure: Structure, bits: Bits) -> Structure:
    def stage(old: Stage) -> Stage:
        return dataclasses.replace(old, blocks=(Block.uniform(bits),) * len(old.blocks))

    return dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=bits),
        stages=tuple(map(stage, structure.stages)),
        head=dataclasses.replace(structure.head, bits=bits),
    )


@given(structures())
def test_multiplications_cost_the_product_of_their_widths(structure):
    """The reference's rule: flops scale with (b_A / 8) (b_W / 8), all but normalisation, ReLU and pooling."""
    whole, quarter, none = (
        structure_costs(with_bits(structure, Bits(weight=weight, activation=activation))).flops
        for weight, activation in ((8, 8), (4, 4), (1, 1))
    )
    products = (whole - none) / (1 - 1 / 64)
    assert math.isclose(whole - quarter, 0.75 * products, rel_tol=1e-9)


@given(structures(st.integers(1, 256)))
def test_flops_scale_with_the_area_of_the_input(structure):
    doubled = dataclasses.replace(structure, resolution=2 * structure.resolution)
    assert math.isclose(structure_costs(doubled).flops, 4 * structure_costs(structure).flops, rel_tol=1e-12)
    assert structure_costs(doubled).size_bytes == structure_costs(structure).size_bytes


@given(structures(), st.sampled_from(["stem", "stages", "head", "resolution"]))
def test_a_structure_without_a_part_is_refused_by_name(structure, part):
    document = to_document(structure)
    del document[part]
    if part == "resolution":
        assert from_document(document, "s.json").resolution == 224
        return
    with pytest.raises(UserError, match=f"s.json: {part}: expected this key"):
        from_document(document, "s.json")


def assert_structures_or_one_line(text: str) -> None:
    message = "any"
    try:
        list(parse_structures(text, "any"))
    except UserError as error:
        message = str(error)
    assert message.startswith("any")
    assert "\n" not in message


@given(st.text(max_size=60))
def test_any_text_is_a_structure_or_a_user_error(text):
    assert_structures_or_one_line(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["structure", "best_structures", "class", "in", "out", "stem", "bits", "L", "k"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_structure_or_a_user_error(value):
    assert_structures_or_one_line(json.dumps(value))


def test_nothing_in_a_structure_text_is_executed(tmp_path):
    target = tmp_path / "touched"
    for text in (
        f"__import__('pathlib').Path({str(target)!r}).touch()",
        f"{{'best_structures': [[{{'class': __import__('pathlib').Path({str(target)!r}).touch()}}]]}}",
        f"[open({str(target)!r}, 'w')]",
    ):
        with pytest.raises(UserError, match="found neither"):
            parse_text(text)
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda blocks: blocks[2]["nbitsW"].__setitem__(3, 17), "block 2: weight_bits: expected 1 to 16, found 17"),
        (lambda blocks: blocks[2]["nbitsW"].__setitem__(3, 4.0), "block 2: weight_bits: expected a whole number"),
        (lambda blocks: blocks[2]["nbitsA"].pop(), "block 2: nbitsA: expected a list of 3 widths for each of L=3"),
        (lambda blocks: blocks[3].update({"in": 99}), "block 3: in: expected 64, the output of the block before"),
        (lambda blocks: blocks[1].update({"k": 4}), "block 1: kernel: expected an odd size, found 4"),
        (lambda blocks: blocks[1].update({"s": 3}), "block 1: stride: expected 1 or 2, found 3"),
        (lambda blocks: blocks[1].update({"L": 0, "nbitsA": [], "nbitsW": []}), "block 1: blocks: expected at least"),
        (lambda blocks: blocks[0].update({"out": 10**400}), "block 0: out_channels: expected 1 to 1048576, found a"),
        (lambda blocks: blocks[4].pop("btn"), "block 4: btn: expected this key, found only"),
        (lambda blocks: blocks[6].update({"class": "Linear"}), "block 6: class: expected ConvKXBNRELU, found 'Linear'"),
        (lambda blocks: blocks.__delitem__(slice(2, None)), "expected a stem, at least one stage and a head, found 2"),
    ],
)  # fmt: skip
def test_a_bad_lightnas_structure_names_block_and_field(change, expected, named_golden):
    blocks = json.loads(json.dumps(named_golden["mixed7d0G"]["structure"]))
    change(blocks)
    with pytest.raises(UserError) as caught:
        list(parse_structures(json.dumps(blocks), "net.txt"))
    assert str(caught.value).startswith(f"net.txt: {expected}")
