"""DeepMAD's score, against a second reading of its definition and through everything that searches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.network.lightnas import from_blocks
from qedeploy.search.evolution.population import Coding
from qedeploy.search.score.efficiency import efficient_score
from qedeploy.search.score.kinds.deepmad import DeepMad
from qedeploy.search.score.kinds.qe_score import QeScore, qe_score, stage_scores
from qedeploy.search.score.score import require_additive
from qedeploy.search.space.recipe_file import recipe_from_document, recipe_to_document
from qedeploy.search.space.recipe_loader import load_recipe
from qedeploy.search.space.space import BitsPer
from tests.search.spaces import make_space

SETTINGS = DeepMad(stage_ratios=(1.0, 1.0, 1.0, 1.0, 8.0))


def second_reading(blocks: list[dict], ratios: tuple[float, ...], alpha1: float, alpha2: float) -> float:
    """Entropies of the blocks so far, times ln(channels * size^2), at every end of a stage; straight from the text."""
    total, entropy, stage, size = 0.0, 0.0, 0, 224
    for index, block in enumerate(blocks):
        convolutions = []
        if "L" in block:
            for position in range(block["L"]):
                read = block["in"] if position == 0 else block["out"]
                convolutions += [(read, 1), (1, block["k"]), (block["btn"], 1)]
        else:
            convolutions.append((block["in"], block["k"]))
        entropy += sum(0.5 * math.log(c**alpha1 * k ** (2 * alpha2)) for c, k in convolutions)
        size //= block["s"]
        if index + 1 == len(blocks) or blocks[index + 1]["s"] == 2:
            total += ratios[stage] * entropy * (math.log(block["out"]) + math.log(size**2))
            stage += 1
    return total


@pytest.mark.parametrize(("alpha1", "alpha2"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.25)])
def test_the_score_is_the_one_defined(golden, alpha1, alpha2):
    settings = dataclasses.replace(SETTINGS, alpha1=alpha1, alpha2=alpha2)
    for record in golden[:60]:
        expected = second_reading(record["structure"], settings.stage_ratios, alpha1, alpha2)
        assert qe_score(from_blocks(record["structure"]), settings) == pytest.approx(expected, rel=1e-12)


def test_widths_and_sigmas_leave_it_alone(named_golden):
    structure = from_blocks(named_golden["mixed7d0G"]["structure"])
    wide = [{**block} for block in named_golden["mixed7d0G"]["structure"]]
    for block in wide:
        for key in ("nbitsA", "nbitsW"):
            block[key] = [8] * len(block[key]) if isinstance(block[key], list) else 8
    other = dataclasses.replace(SETTINGS, sigma_weight=1.0, sigma_activation=9.0)
    assert qe_score(structure, SETTINGS) == qe_score(from_blocks(wide), other)
    assert qe_score(structure) != qe_score(from_blocks(wide))


@pytest.mark.parametrize("bits_per", BitsPer)
@pytest.mark.parametrize("strides", [(2, 2, 2, 1, 2), (1, 2, 2), (2, 1, 2)])
def test_the_array_code_scores_alike(bits_per, strides):
    space = make_space(strides=strides, bits_per=bits_per)
    ratios = SETTINGS.stage_ratios[: len(space.score.document()["stage_ratios"])]
    settings = dataclasses.replace(SETTINGS, stage_ratios=ratios, alpha1=0.7, alpha2=1.3)
    space = dataclasses.replace(space, score=settings)
    coding = Coding(space)
    random = np.random.default_rng(4)
    genes = coding.settle((random.random((coding.genes, 50)) * coding.limits()[:, None]).astype(np.int16))
    found = coding.measure(genes, ()).score
    for member in range(50):
        structure = coding.structure(genes[:, member])
        assert found[member] == pytest.approx(qe_score(structure, settings), rel=1e-12)


def test_a_size_below_one_pixel_scores_and_does_not_fail(named_golden):
    structure = dataclasses.replace(from_blocks(named_golden["mixed7d0G"]["structure"]), resolution=8)
    assert all(math.isfinite(part) for part in stage_scores(structure, SETTINGS))


def test_a_recipe_names_it():
    recipe = load_recipe("mixed-7d0g")
    document = recipe_to_document(recipe)
    assert document["score"]["kind"] == "madnas"
    document["score"] |= {"kind": "deepmad", "alpha1": 0.5, "stage_ratios": [1, 1, 1, 1, 8]}
    found = recipe_from_document(document, name="x", source="x.toml")
    assert found.score == dataclasses.replace(SETTINGS, alpha1=0.5)
    assert recipe_from_document(recipe_to_document(found), name="x", source="x.toml") == found


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"kind": "zennas"}, r"score\.kind: Input should be 'madnas' or 'deepmad'"), ({"alpha1": 0}, r"score\.alpha1")],
)
def test_a_wrong_score_is_named(change, reason):
    document = recipe_to_document(load_recipe("mixed-7d0g"))
    document["score"] |= change
    with pytest.raises(UserError, match=reason):
        recipe_from_document(document, name="x", source="x.toml")


def test_what_adds_layers_up_refuses_it():
    require_additive(QeScore(), "exact")
    with pytest.raises(RequestError, match="score deepmad: the exact method needs a score that is a sum"):
        require_additive(SETTINGS, "exact")


def test_the_efficient_score_is_the_one_defined(golden):
    for record in golden[:60]:
        depth, log_width, values = 0, 0.0, []
        blocks = record["structure"]
        for index, block in enumerate(blocks):
            for position in range(block.get("L", 1)):
                read = block["in"] if position == 0 else block["out"]
                log_width += math.log(read * block["k"] ** 2 * (block["btn"] if "L" in block else 1))
                depth += 3 if "L" in block else 1
            if index + 1 == len(blocks) or blocks[index + 1]["s"] == 2:
                values.append(depth / math.exp(log_width / depth))
        assert efficient_score(from_blocks(blocks)) == pytest.approx(max(values), rel=1e-12)
