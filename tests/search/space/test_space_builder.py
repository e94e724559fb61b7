from dataclasses import replace

import pytest

from qedeploy.errors import RequestError
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.search.space.recipe_loader import load_recipe
from qedeploy.search.space.space_builder import build_space

W8A8, W4A16, W4A4 = Bits(weight=8, activation=8), Bits(weight=4, activation=16), Bits(weight=4, activation=4)


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_has_a_space_with_its_own_recipe(profile):
    device = load_profile(profile)
    space = build_space(load_recipe(device.recipe), device)
    for kind, pairs in space.pairs.items():
        assert pairs == tuple(sorted(device.native_pairs(kind)))
    for block in space.block_choices:
        assert {block.expand, block.project} <= set(space.pairs[LayerCategory.POINTWISE])
        assert block.depthwise in space.pairs[LayerCategory.DEPTHWISE]


def test_a_native_search_on_int8_has_one_width():
    space = build_space(load_recipe("k1dwk1-224"), load_profile("cpu-int8"))
    assert space.block_choices == (Block.uniform(W8A8),)
    assert set(space.executed.values()) == {W8A8}


def test_a_pair_the_depthwise_layer_lacks_is_combined_with_those_it_has():
    space = build_space(load_recipe("k1dwk1-224"), load_profile("t4-int4"))
    assert set(space.block_choices) == {Block.uniform(W8A8), Block(expand=W4A16, depthwise=W8A8, project=W4A16)}
    assert space.executed[LayerCategory.POINTWISE, W4A16] == Bits(weight=16, activation=16)
    assert space.executed[LayerCategory.STEM, W8A8] == W8A8


def test_named_widths_bring_in_carried_pairs():
    space = build_space(load_recipe("mixed-7d0g"), load_profile("t4-int8"))
    assert len(space.block_choices) == len(space.pairs[LayerCategory.HEAD]) == 16
    assert space.executed[LayerCategory.DEPTHWISE, W4A4] == W8A8


def test_named_widths_the_device_half_has_are_cut_to_those():
    assert build_space(load_recipe("mixed-7d0g"), load_profile("stm32h743-cmix")).block_choices == (
        Block.uniform(W4A4),
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bits": (Bits(weight=3, activation=3),)}, "stm32f746-cmix has none .* pointwise layers .*W3A3.*it has W2A2"),
        ({"head_bits": (W4A16,)}, "profile stm32f746-cmix has none .* head layers"),
        ({"stem_bits": Bits(weight=16, activation=16)}, "profile stm32f746-cmix has none .* stem layers"),
        ({"classifier_bits": Bits(weight=5, activation=8)}, "profile stm32f746-cmix has none .* classifier layers"),
    ],
)  # fmt: skip
def test_widths_the_profile_lacks_cannot_be_asked(change, expected):
    recipe = replace(load_recipe("k1dwk1-mcu"), **change)
    with pytest.raises(RequestError, match=expected) as caught:
        build_space(recipe, load_profile("stm32f746-cmix"))
    assert caught.value.exit_code == 3


def test_a_head_can_be_fixed():
    recipe = replace(load_recipe("mixed-7d0g"), head_bits=(W8A8,))
    assert build_space(recipe, load_profile("any-bits")).pairs[LayerCategory.HEAD] == (W8A8,)
