from dataclasses import replace

import pytest

from qedeploy.errors import RequestError, UserError
from qedeploy.profiles.loader import load_profile
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.budgets.planned import FLASH, SRAM
from qedeploy.search.request import make_request
from qedeploy.search.space.budgets import classifier_bytes, parse_budget, resolve_budgets
from qedeploy.search.space.recipe_loader import load_recipe


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("bitops=7.0G", BITOPS, 7e9),
        ("executed-bitops=19.2G", EXECUTED_BITOPS, 19.2e9),
        ("flops=109e6", FLOPS, 109e6),
        ("size=2.2MB", SIZE, 2.2e6),
        ("peak-memory=320KiB", PEAK_MEMORY, 327680),
        ("layers=47", LAYERS, 47),
        ("latency=4ms", LATENCY, 0.004),
    ],
)
def test_budgets_are_read_with_their_units(text, kind, limit):
    found, value = parse_budget(text)
    assert found is kind
    assert value == pytest.approx(limit, rel=1e-15)
    assert parse_budget(f"{kind}={kind.text(value)}")[1] == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize(
    "text", ["", "bitops", "bitops=", "speed=1", "bitops=7GB", "size=2M", "layers=-1", "flops=0", "latency=x"]
)
def test_wrong_budgets_are_one_line(text):
    with pytest.raises(UserError, match="expected") as caught:
        parse_budget(text)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_latency_without_a_unit_is_answered_with_one():
    with pytest.raises(UserError, match=r"found '4'; did you mean latency=4ms\?"):
        parse_budget("latency=4")
    with pytest.raises(UserError, match=r"found '4msec'; did you mean ms\?"):
        parse_budget("latency=4msec")
    with pytest.raises(UserError, match=r"found '0'$"):
        parse_budget("latency=0")


def test_an_override_replaces_the_recipes_limit():
    found = resolve_budgets(load_recipe("mixed-7d0g"), load_profile("t4-int8"), {FLOPS: 5e7})
    assert found == {FLOPS: 5e7, LAYERS: 47}


def test_memory_limits_apply_and_the_classifier_takes_its_share():
    recipe, profile = load_recipe("mixed-7d0g"), load_profile("stm32h743-cmix")
    found = resolve_budgets(recipe, profile)
    assert found[PEAK_MEMORY] == 512 * 1024
    assert found[SIZE] == 2 * 1024 * 1024 - classifier_bytes(recipe)
    assert classifier_bytes(recipe) == 1280 * 1000 + 2 * 1000


def test_the_tighter_limit_wins():
    recipe = load_recipe("mixed-7d0g")
    roomy, tight = (replace(recipe, budgets={PEAK_MEMORY: limit}) for limit in (1e9, 1e3))
    profile = load_profile("stm32h743-cmix")
    assert resolve_budgets(roomy, profile)[PEAK_MEMORY] == 512 * 1024
    assert resolve_budgets(tight, profile)[PEAK_MEMORY] == 1e3
    assert resolve_budgets(roomy, profile, {PEAK_MEMORY: 1e5})[PEAK_MEMORY] == 1e5


def test_an_override_beyond_the_device_is_refused():
    with pytest.raises(RequestError, match=r"budget peak-memory=1 MiB: stm32h743-cmix holds 512 KiB; lower it"):
        resolve_budgets(load_recipe("mixed-7d0g"), load_profile("stm32h743-cmix"), {PEAK_MEMORY: 2**20})


def test_a_classifier_that_fills_the_flash_is_a_request_that_cannot_be_met():
    with pytest.raises(RequestError, match=r"classifier \(1280x1000 at W8A8\) takes .* k1dwk1-mcu"):
        resolve_budgets(load_recipe("k1dwk1-224"), load_profile("stm32f746-cmix"))
    assert resolve_budgets(load_recipe("k1dwk1-mcu"), load_profile("stm32f746-cmix"))[SIZE] > 700_000


def test_what_a_profile_reserves_is_left_free_unless_a_limit_is_named():
    recipe, profile = load_recipe("k1dwk1-mcu"), load_profile("stm32f746")
    memory = profile.memory
    assert memory.reserved_flash > 0
    assert memory.reserved_sram > 0
    found = resolve_budgets(recipe, profile)
    assert found[SRAM] == memory.activation_bytes - memory.reserved_sram
    assert found[FLASH] == memory.weight_bytes - memory.reserved_flash
    assert not {SIZE, PEAK_MEMORY} & found.keys()
    with pytest.raises(RequestError, match="stm32f746 holds 320 KiB"):
        resolve_budgets(recipe, profile, {PEAK_MEMORY: 330e3})


def test_limits_of_memory_are_about_the_plan_where_there_is_one():
    recipe, profile = load_recipe("k1dwk1-mcu"), load_profile("stm32f746")
    assert (
        resolve_budgets(recipe, profile, {PEAK_MEMORY: 300e3, SIZE: 800e3}).items()
        >= {SRAM: 300e3, FLASH: 800e3}.items()
    )
    own = replace(recipe, budgets={SIZE: 500e3})
    assert resolve_budgets(own, profile)[FLASH] == 500e3
    assert make_request("stm32f746", overrides={PEAK_MEMORY: 250e3}).budget_sources[SRAM] == "user"
    with pytest.raises(UserError, match=r"budget peak-memory and sram: on stm32f746 they are the same; leave one out"):
        resolve_budgets(recipe, profile, {PEAK_MEMORY: 300e3, SRAM: 300e3})
    with pytest.raises(RequestError, match="budget flash: not known of networks on cpu-int8"):
        make_request("cpu-int8", overrides={FLASH: 1e6})


def test_a_reserve_that_leaves_no_flash_beside_the_classifier_is_refused():
    recipe, profile = load_recipe("k1dwk1-mcu"), load_profile("stm32f746-cmix")
    memory = replace(profile.memory, reserved_flash=profile.memory.weight_bytes - 300_000)
    with pytest.raises(RequestError, match=r"has no flash left but the .* that it reserves"):
        resolve_budgets(recipe, replace(profile, memory=memory))


def test_a_latency_limit_takes_the_place_of_limits_that_stand_in_for_time():
    recipe, profile = load_recipe("k1dwk1-224"), load_profile("cpu-int8")
    assert set(recipe.budgets) == {BITOPS, LAYERS}
    assert resolve_budgets(recipe, profile, {LATENCY: 4e-3}) == {
        LAYERS: 47,
        LATENCY: 4e-3,
    }
    both = {BITOPS: 7e9, LATENCY: 4e-3}
    assert resolve_budgets(recipe, profile, both) == {LAYERS: 47, **both}
