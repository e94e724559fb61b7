import json
import time
import tomllib

import pytest

from qedeploy.errors import UserError
from qedeploy.network.lightnas import from_value
from qedeploy.network.structure import Bits
from qedeploy.search.costs.budgets.counted import BITOPS, FLOPS, LAYERS
from qedeploy.search.space.recipe_file import recipe_from_document, recipe_to_document
from qedeploy.search.space.recipe_loader import FOLDER, load_recipe, recipe_names
from qedeploy.search.space.space import BitsPer

NARROW = {Bits(weight=weight, activation=activation) for weight in (3, 4, 5, 6) for activation in (3, 4, 5, 6)}
TEXT = (FOLDER / "mixed-7d0g.toml").read_text()


def test_every_promised_recipe_ships():
    assert {"k1dwk1-224", "mixed-7d0g", "mixed-19d2g"} <= set(recipe_names())


@pytest.mark.parametrize(("name", "flops"), [("mixed-7d0g", 109e6), ("mixed-19d2g", 300e6)])
def test_mixed_recipes_are_the_references_configurations(name, flops, named_golden):
    recipe = load_recipe(name)
    assert recipe.budgets == {FLOPS: flops, LAYERS: 47}
    assert set(recipe.bits) == set(recipe.head_bits) == NARROW
    assert recipe.bits_per is BitsPer.BLOCK
    assert recipe.strides == (2, 2, 2, 1, 2)
    assert recipe.stem_channels == (8, 16, 24, 32)
    assert recipe.channels == tuple(range(8, 1281, 8))
    assert recipe.kernels == (3, 5)
    assert recipe.ratios == (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    assert recipe.depths == ((1, 2, 3),) * 5
    init = {"mixed-7d0g": "init_Mixed_7d0G", "mixed-19d2g": "init_Mixed_19d2G"}[name]
    assert recipe.start == (from_value(named_golden[init]["structure"]),)


def test_the_default_recipe_leaves_the_widths_to_the_profile():
    recipe = load_recipe("k1dwk1-224")
    assert recipe.bits is None
    assert recipe.head_bits is None
    assert recipe.budgets == {BITOPS: 19.2e9, LAYERS: 47}


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_reads_back_equal(name):
    recipe = load_recipe(name)
    document = json.loads(json.dumps(recipe_to_document(recipe)))
    assert recipe_from_document(document, name=name, source="search.json") == recipe


def test_a_users_file_works_by_path(tmp_path):
    path = tmp_path / "small.toml"
    text = TEXT.replace("resolution = 224", "resolution = 96").replace("max = 1280", "max = 64")
    text = text.replace("channels = 1280\nbits = { weight_bits = [3, 4, 5, 6], activation_bits = [3, 4, 5, 6] }",
                        'channels = 512\nbits = ["W8A8"]')  # fmt: skip
    path.write_text(text)
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.resolution, recipe.channels[-1]) == ("small", 96, 64)
    assert (recipe.head_channels, recipe.head_bits) == (512, (Bits(weight=8, activation=8),))
    assert recipe.start[0].resolution == 96


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(UserError, match=r"no recipe is named 'mixed-7d0' \(did you mean mixed-7d0g\?\)"):
        load_recipe("mixed-7d0")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("resolution = 224", "resolution = 0", "resolution: "),
        ("resolution = 224", "resolutoin = 224", "resolutoin: unknown key"),
        ("strides = [2, 2, 2, 1, 2]", "strides = [2, 2, 2, 1, 3]", "stages.strides[4]"),
        ("strides = [2, 2, 2, 1, 2]", "strides = [2, 2, 2, 1]", "score.stage_ratios: expected 4"),
        ("strides = [2, 2, 2, 1, 2]", "strides = [2, 2, 2, 1, 2, 1]", "start[0].stages: expected 6"),
        ("max = 1280", "max = 1281", "stages.channels: min, max: expected multiples of 8"),
        ("max = 1280", "max = 4", "stages.channels: expected a list, or a table with min and max"),
        ("kernels = [3, 5]", "kernels = [3, 4]", "stages.kernels[1]: expected an odd size, found 4"),
        ("ratios = [1.5,", "ratios = [0,", "stages.ratios[0]"),
        ("depths = [1, 2, 3]", "depths = [0, 1]", "stages.depths[0][0]"),
        ("depths = [1, 2, 3]", "depths = [[1], [2]]", "depths: expected one list for all stages or one for each"),
        ('bits_per = "block"', 'bits_per = "network"', "stages.bits_per"),
        ('bits = "W8A8"', 'bits = "W8"', "stem.bits: expected a pair such as W8A8, found 'W8'"),
        ('bits = "W8A8"', 'bits = "W17A8"', "stem.bits: weight_bits: expected 1 to 16, found 17"),
        ("bits = { weight_bits = [3,", 'bits = { weight_bits = ["3",', "stages.bits: weight_bits: expected a whole"),
        ('flops = "109e6"', 'flops = "109MB"', "budgets: flops: expected a positive number with K, M, G"),
        ('flops = "109e6"', 'speed = "109e6"', "budgets: speed: expected one of bitops"),
        ("sigma_weight = 4.0", "sigma_weight = 0.0", "score.sigma_weight"),
        ('"W4A4", "W4A4", "W4A4"', '"W4A4", "W4A4"', "start[0].stages[0].blocks[0]"),
    ],
)
def test_faults_name_their_field_and_what_was_expected(old, new, expected):
    assert old in TEXT
    with pytest.raises(UserError) as caught:
        recipe_from_document(tomllib.loads(TEXT.replace(old, new, 1)), name="mine", source="mine.toml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ("channels = { min = 8, max = 1000000 }", "expected at most 512 numbers of channels, found 125000"),
        ("channels = { min = 8, max = 80000000000000000000000000 }", "expected at most 512 numbers of channels"),
        (f"channels = {[8 * item for item in range(1, 600)]}", "stages.channels: .*at most 512"),
        (f"ratios = {[1 + item / 100 for item in range(2000)]}", "stages.ratios: .*at most 32"),
        ("ratios = [1e300]", "stages.ratios.*1000"),
        (f"strides = {[1] * 3000}", "stages.strides: .*at most 32"),
        ("depths = [100000]", r"stages\.depths.*1000"),
        ("bits = { weight_bits = " + str([8] * 5000) + ", activation_bits = [8] }", "stages.bits"),
        (
            f"channels = {{ min = 8, max = 4096 }}\nratios = {[1 + item / 10 for item in range(30)]}",
            r"at most 50,000 shapes of a stage \(channels x kernels x ratios x depths\), found 92,160",
        ),
    ],
)
def test_more_choices_than_can_be_searched_are_refused_at_once(tmp_path, stages, reason):
    rows = {
        "strides": "strides = [2, 2, 2, 1, 2]",
        "channels": "channels = { min = 8, max = 320 }",
        "kernels": "kernels = [3, 5]",
        "ratios": "ratios = [2.0]",
        "depths": "depths = [1, 2, 3]",
        "bits": 'bits = "profile"',
    }
    rows |= {line.partition(" ")[0]: line for line in stages.splitlines()}
    text = "description = 'x'\n[stem]\nchannels = [8]\n[stages]\n" + "\n".join(rows.values()) + "\n"
    (tmp_path / "many.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(UserError, match=reason):
        load_recipe(str(tmp_path / "many.toml"))
    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", ["Mixed_7d0G.py", "configs/quant/Mixed_7d0G.py", "MIXED_7D0G.py"])
def test_a_configuration_of_lightnas_is_named_with_its_recipe(name):
    with pytest.raises(UserError, match=r"a configuration of LightNAS's, .*--recipe mixed-7d0g is the search"):
        load_recipe(name)
