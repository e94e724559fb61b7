"""Widths for a trained network: what is chosen, that it is the best, and that train and export take it."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from qedeploy import api
from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from qedeploy.network.costs import structure_costs
from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Bits
from qedeploy.search.assign.problem import costs
from tests.model.structures import tiny_structure


@pytest.fixture(scope="module")
def halved(trained, digits, tmp_path_factory):
    return api.assign_widths(trained, digits, budgets=["bitops=0.4x"], folder=tmp_path_factory.mktemp("halved") / "out")


def test_the_budget_is_kept_as_score_counts_it_and_the_choice_is_proved(halved, trained):
    before, after = (
        structure_costs(load_checkpoint(trained).structure),
        structure_costs(halved.found.checkpoint.structure),
    )
    assert after.bitops <= 0.4 * before.bitops
    assert halved.found.assignment.costs.nominal == pytest.approx(after.bitops)
    assert halved.found.assignment.costs.size == pytest.approx(after.size_bytes)
    assert halved.found.assignment.gap < 1e-4
    assert halved.found.proof.agrees


def test_no_uniform_width_within_the_budget_is_predicted_better(halved):
    found = halved.found
    chosen = found.assignment.costs
    for weight, activation in itertools.product(range(2, 9), repeat=2):
        precisions = {
            layer.name: f"W{weight}A{activation}" if len(found.pairs[layer.name]) > 1 else layer.choices[0].precision
            for layer in found.problem.layers
        }
        try:
            other = costs(found.problem, precisions)
        except KeyError:
            continue  # a choice that another one beats
        assert other.error >= chosen.error or other.nominal > found.assignment.limits.nominal


def test_the_files_are_a_checkpoint_and_why(halved, trained, tmp_path):
    written = halved.written
    loaded = load_checkpoint(written.model)
    assert loaded.structure == halved.found.checkpoint.structure
    assert loaded.images == load_checkpoint(trained).images
    document = json.loads(written.assignment.read_text())
    assert document["certificate"]["second_way"]["agrees"] is True
    assert document["precisions"]["classifier"] == "W8A8"
    assert document["top1"]["after"]["count"] == 397
    exported = api.export(written.model, tmp_path / "model.onnx")
    assert exported.comparison.differing / exported.comparison.values < 0.01


def test_verify_solves_it_again(halved, tmp_path):
    checks = api.verify(halved.written.model.parent)
    assert all(check.holds for check in checks)
    document = json.loads(halved.written.assignment.read_text())
    name = next(layer["name"] for layer in document["problem"]["layers"] if len(layer["choices"]) > 1)
    chosen = document["precisions"][name]
    (layer,) = [layer for layer in document["problem"]["layers"] if layer["name"] == name]
    document["precisions"][name] = next(one["precision"] for one in layer["choices"] if one["precision"] != chosen)
    (tmp_path / "assignment.json").write_text(json.dumps(document))
    claims = {check.claim for check in api.verify(tmp_path) if check.holds is False}
    assert "error" in claims
    assert "model.pth is the file of assignment.json" in claims


def test_training_goes_on_from_the_widths(halved, digits, tmp_path):
    from qedeploy.train.recipe import load_recipe, with_changes
    from qedeploy.train.training import TrainOptions, train

    recipe = with_changes(load_recipe("quick"), {"epochs": 1, "batch": 64, "flip": 0.0, "crop_padding": 1})
    result = train(halved.written.model, digits, TrainOptions(recipe=recipe), tmp_path)
    assert result.float_top1 is None
    assert load_checkpoint(result.model).structure == halved.found.checkpoint.structure
    assert result.test_top1 >= halved.found.after.value - 0.02


def test_a_size_decides_between_the_pairs_of_a_t4(trained, digits, tmp_path):
    found = api.assign_widths(trained, digits, profile="t4-int4", budgets=["size=0.8x"], folder=tmp_path / "out").found
    structure = found.checkpoint.structure
    pairs = {layer.name: layer.bits for layer in expand_layers(structure)}
    narrow = {name for name, bits in pairs.items() if bits == Bits(weight=4, activation=16)}
    assert narrow
    assert set(map(str, pairs.values())) == {"W4A16", "W8A8"}
    kinds = {layer.category for layer in expand_layers(structure) if layer.name in narrow}
    assert kinds <= {LayerCategory.POINTWISE, LayerCategory.HEAD}
    assert found.proof.agrees
    api.export(tmp_path / "out" / "model.pth", tmp_path / "model.onnx")


def test_a_drop_is_counted_and_the_cheapest_within_it_taken(trained, digits):
    found = api.assign_widths(trained, digits, max_drop=2.0).found
    assert found.before.value - found.after.value <= 0.02
    assert found.assignment.costs.nominal < 0.7 * found.costs_as(Bits(weight=8, activation=8)).nominal
    assert found.apart


def test_layers_that_the_user_knows_better_stay(trained, digits):
    found = api.assign_widths(
        trained, digits, budgets=["bitops=0.6x"], fixed=["head=W3A5"], kept=["stage1"], samples=16
    ).found
    assert found.assignment.precisions["head"] == "W3A5"
    own = structure_costs(load_checkpoint(trained).structure).bitops
    assert found.assignment.limits.nominal == pytest.approx(0.6 * own)
    assert {found.assignment.precisions[name] for name in found.assignment.precisions if "stage1" in name} == {"W8A8"}


def test_pictures_without_labels_will_do_where_no_drop_is_asked_for(trained, tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(generator.integers(0, 255, (9, 9, 3), np.uint8)).save(tmp_path / f"{number}.png")
    found = api.assign_widths(trained, tmp_path, budgets=["bitops=0.5x"]).found
    assert (found.samples, found.before, found.after) == (3, None, None)
    with pytest.raises(UserError, match="needs a folder for each class"):
        api.assign_widths(trained, tmp_path, max_drop=1.0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, UserError, "expected a limit"),
        ({"budgets": ["speed=2"]}, UserError, "--budget 'speed=2'"),
        ({"budgets": ["size=1KB", "size=2KB"]}, UserError, "given twice"),
        ({"budgets": ["size=ax"]}, UserError, "a share such as 0.5x"),
        ({"budgets": ["size=0x"]}, UserError, "positive limit"),
        ({"budgets": ["size=1B"]}, RequestError, "the widths that there are reach"),
        ({"budgets": ["size=1KB"], "fixed": ["nowhere=W8A8"]}, UserError, "no layer of that name"),
        ({"budgets": ["size=1KB"], "fixed": ["stem=W9A9"]}, RequestError, "cpu-int8 runs W8A8"),
        ({"budgets": ["size=1KB"], "kept": ["nowhere"]}, UserError, "matches no layer"),
        ({"budgets": ["latency=1ms"], "profile": "t4-int4"}, RequestError, "has no latency table"),
        ({"budgets": ["bitops=0.25x"], "max_drop": 0.0}, RequestError, "top-1 falls by"),
    ],
)
def test_what_cannot_be_asked_is_named_and_nothing_is_written(trained, digits, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        api.assign_widths(trained, digits, folder=tmp_path / "out", samples=16, **options)
    assert not (tmp_path / "out").exists()


def test_a_network_that_nothing_trained_is_refused(digits, tmp_path):
    path = save_checkpoint(tmp_path / "model.pth", build(tiny_structure(), seed=0), profile="cpu-int8", recipe={})
    with pytest.raises(UserError, match="was never trained"):
        api.assign_widths(path, digits, budgets=["size=1KB"])
