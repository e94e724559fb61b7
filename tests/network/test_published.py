"""The published table: figures of the papers, golden figures of the reference, and what each accounting gives."""

from __future__ import annotations

import pytest

from qedeploy.errors import UserError
from qedeploy.network.accounting import as_reference_draws, bitops_accountings, size_accountings
from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import LayerKind, Position, expand_layers
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.published import find_published, published_models
from qedeploy.search.score.kinds.qe_score import qe_score


def test_the_table_is_the_published_one():
    rows = [(m.name, m.parameter_megabytes, m.bitops_giga, m.top1_percent) for m in published_models()]
    assert rows == [
        ("MBV2-8bit", "3.4", "19.2", "71.90"),
        ("MBV2-4bit", "2.3", "7", "68.90"),
        ("Mixed19d2G", "3.2", "18.8", "74.80"),
        ("Mixed7d0G", "2.2", "6.9", "70.80"),
    ]


@pytest.mark.parametrize(("name", "golden_name"), [("Mixed19d2G", "mixed19d2G"), ("Mixed7d0G", "mixed7d0G")])
def test_mixed_models_have_the_reference_score_and_costs(named_golden, name, golden_name):
    record, structure = named_golden[golden_name], find_published(name).structure
    assert structure == from_blocks(record["structure"])
    assert qe_score(structure) == pytest.approx(record["score"], rel=1e-12)
    assert structure_costs(structure).flops == pytest.approx(record["flops"], rel=1e-12)


def test_mobilenetv2_has_the_macs_and_parameters_of_its_paper():
    layers = expand_layers(find_published("MBV2-8bit").structure)
    assert sum(layer.kind is LayerKind.DEPTHWISE for layer in layers) == 17
    # Sandler et al. print 300M multiply-adds and 3.4M parameters; torchvision's model has 300,774,272 and 3,504,872.
    assert sum(layer.macs for layer in layers) == 300_774_272
    normalisations = sum(2 * layer.out_channels for layer in layers if layer.position is not Position.CLASSIFIER)
    assert sum(layer.weight_count for layer in layers) + 1000 + normalisations == 3_504_872


def test_mobilenetv2_adds_its_input_where_the_paper_does():
    layers = [layer for layer in expand_layers(find_published("MBV2-8bit").structure) if layer.name.endswith("project")]
    assert sum(layer.residual for layer in layers) == 10
    assert not any(layer.pooled for layer in layers)
    assert all(layer.activation is None for layer in layers)


@pytest.mark.parametrize(("name", "golden_name"), [("MBV2-8bit", "mbv2_8bit_stem8"), ("MBV2-4bit", "mbv2_4bit_stem8")])
def test_mobilenetv2_drawn_by_the_reference_has_the_reference_figures(named_golden, name, golden_name):
    record, drawn = named_golden[golden_name], as_reference_draws(find_published(name).structure)
    assert drawn == from_blocks(record["structure"])
    assert qe_score(drawn) == pytest.approx(record["score"], rel=1e-12)
    assert structure_costs(drawn).flops == pytest.approx(record["flops"], rel=1e-12)


def test_no_single_accounting_gives_every_published_bitops():
    fitting = [
        {item.name for item in bitops_accountings(model.structure, model.bitops_giga) if item.fits}
        for model in published_models()
    ]
    assert all(fitting)
    assert not set.intersection(*fitting)


@pytest.mark.parametrize("model", published_models(), ids=lambda model: model.name)
def test_every_published_size_has_an_accounting(model):
    assert any(item.fits for item in size_accountings(model.structure, model.parameter_megabytes))


def test_names_are_matched_loosely_and_suggested():
    assert find_published("mixed7d0g").name == "Mixed7d0G"
    assert find_published("mbv2_8bit").name == "MBV2-8bit"
    with pytest.raises(UserError, match=r"did you mean Mixed19d2G\?.*MBV2-4bit"):
        find_published("mixed19d2")
    with pytest.raises(UserError, match="no published model is named 'resnet50'"):
        find_published("resnet50")
