import tomllib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import RequestError, UserError
from qedeploy.network.layers import Layer, LayerCategory, LayerKind
from qedeploy.network.structure import Bits
from qedeploy.network.window import Window
from qedeploy.profiles.describe import compact_pairs, compact_widths
from qedeploy.profiles.loader import FOLDER, load_profile, profile_names
from qedeploy.profiles.profile import REQUIRED_CATEGORIES, Lowering
from qedeploy.profiles.profile_file import profile_from_document
from qedeploy.search.space.recipe_loader import recipe_names

SHIPPED = {
    "cpu-int8", "cpu-int8-avx2", "cpu-openvino",
    "t4-int8", "t4-int4", "a10-int8", "a100-int8", "l4-int8", "orin-int8", "h100-int8",
    "a10-int4", "l4-int4", "orin-int4", "rtx-30", "rtx-40", "rtx-50",
    "stm32f746", "stm32f746-cmix", "stm32h743", "stm32h743-cmix", "any-bits",
}  # fmt: skip
INT8 = sorted(name for name in SHIPPED if name.endswith("int8"))
W8A8, W4A16 = Bits(weight=8, activation=8), Bits(weight=4, activation=16)
ALL_PAIRS = {Bits(weight=w, activation=a) for w, a in product(range(2, 9), repeat=2)}
USER = """
device = "mine"
runtime = "tensorrt"
description = "d"
source = "s"
unsigned_activation_bits = 7
[[precision]]
kinds = "all"
weight_bits = [8]
activation_bits = [8]
lowering = "int8"
"""


def faults(text: str) -> str:
    with pytest.raises(UserError) as caught:
        profile_from_document(tomllib.loads(text), name="mine", source="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


def test_every_promised_device_ships():
    assert set(profile_names()) == SHIPPED


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_profiles_state_their_sources(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.recipe in recipe_names()
    assert all(rate.source for rate in profile.rates.values())
    memory = profile.memory
    figures = (memory.weight_bytes, memory.activation_bytes, memory.bandwidth_bytes_per_second)
    assert memory.source or figures == (None, None, None)
    assert profile.unsigned_activation_bits == {"tensorrt": 7, "tensorrt_rtx": 7}.get(profile.runtime, 8)


def integer_pairs(profile, kind):
    """All pairs but those that are computed in floating point."""
    lowerings = {precision.bits: precision.lowering for precision in profile.precisions[kind]}
    assert set(lowerings.values()) <= {Lowering.INT8, Lowering.FLOAT32}
    return {bits for bits, lowering in lowerings.items() if lowering is Lowering.INT8}


@pytest.mark.parametrize("name", INT8)
def test_int8_devices_execute_w8a8_and_carry_every_narrower_pair(name):
    profile = load_profile(name)
    for kind in REQUIRED_CATEGORIES:
        assert profile.native_pairs(kind) == (W8A8,)
        assert integer_pairs(profile, kind) == ALL_PAIRS


def test_without_vnni_weights_keep_to_seven_bits():
    profile = load_profile("cpu-int8-avx2")
    for kind in REQUIRED_CATEGORIES:
        assert profile.native_pairs(kind) == (Bits(weight=7, activation=8),)
        assert integer_pairs(profile, kind) == {pair for pair in ALL_PAIRS if pair.weight < 8}


@pytest.mark.parametrize("name", ["cpu-int8", "cpu-int8-avx2"])
def test_depthwise_layers_alone_may_be_float(name):
    profile = load_profile(name)
    single = Bits(weight=16, activation=16)
    found = {kind for kind in REQUIRED_CATEGORIES if single in profile.pairs(kind)}
    assert found == {LayerCategory.DEPTHWISE}
    assert profile.precision(LayerCategory.DEPTHWISE, single).lowering is Lowering.FLOAT32


@pytest.mark.parametrize("name", ["t4-int4", "a10-int4", "l4-int4", "orin-int4", "rtx-30", "rtx-40", "rtx-50"])
def test_int4_is_weight_only_for_matrix_products(name):
    profile = load_profile(name)
    for kind in REQUIRED_CATEGORIES:
        assert profile.precision(kind, W8A8).lowering is Lowering.INT8
        found = profile.precision(kind, W4A16)
        if kind in {LayerCategory.STEM, LayerCategory.DEPTHWISE}:
            assert found is None
        else:
            assert found.lowering is Lowering.INT4_WEIGHT_ONLY
            assert not found.carried
            assert found.lowering.executed(W4A16) == Bits(weight=16, activation=16)


def test_microcontrollers_have_the_memory_of_their_reference_manuals():
    small, large = load_profile("stm32f746").memory, load_profile("stm32h743").memory
    assert (small.weight_bytes, small.activation_bytes) == (1 << 20, 320 << 10)
    assert (large.weight_bytes, large.activation_bytes) == (2 << 20, 512 << 10)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ('weights = "1MiB"\nreserved_flash = "1MiB"', "memory.reserved_flash: expected less than memory.weights"),
        ('weights = "1MiB"\nreserved_sram = "1KiB"', "memory.reserved_sram: expected less than memory.activations"),
    ],
)
def test_a_reserve_is_part_of_a_memory(memory, expected):
    assert expected in faults(f"{USER}\n[memory]\n{memory}\nsource = 's'\n")


def test_any_bits_executes_what_it_is_asked():
    profile = load_profile("any-bits")
    for kind in REQUIRED_CATEGORIES:
        assert set(profile.native_pairs(kind)) == ALL_PAIRS
        assert all(
            precision.lowering.executed(precision.bits) == precision.bits for precision in profile.precisions[kind]
        )


def test_a_users_file_works_by_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((FOLDER / "t4-int4.toml").read_text())
    profile = load_profile(str(path))
    assert profile.name == "mine"
    assert profile.precisions == load_profile("t4-int4").precisions


@pytest.mark.parametrize("name", ["t4-int5", "T4-INT8", "", "tensorrt"])
def test_an_unknown_name_lists_the_names(name):
    with pytest.raises(UserError, match=r"no profile is named .*t4-int8"):
        load_profile(name)


def test_the_closest_name_is_suggested():
    with pytest.raises(UserError, match="did you mean stm32f746"):
        load_profile("stm32f74")


def test_a_toml_error_carries_its_line(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("device = 'a'\nruntime = \n")
    with pytest.raises(UserError, match=r"broken.toml: not valid TOML: .*line 2"):
        load_profile(str(path))


@pytest.mark.parametrize(("name", "target"), [("rtx-30", "8.6"), ("rtx-40", "8.9"), ("rtx-50", "12.0")])
def test_what_is_compiled_ahead_of_time_has_a_target(name, target):
    assert load_profile(name).target == target
    assert load_profile("t4-int4").target is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ('target = "7.5"', "no INT8 on Turing"),
        ('target = "9.0"', "does not compile for Hopper"),
        ('target = "6.1"', "target: expected what tensorrt_rtx compiles for (8.0, 8.6, 8.9, 12.0, 12.1), found 6.1"),
        ("", "target: expected what tensorrt_rtx compiles for (8.0, 8.6, 8.9, 12.0, 12.1), found none"),
    ],
)
def test_targets_that_cannot_be_compiled_for_are_refused_with_the_reason(target, expected):
    assert expected in faults(USER.replace('runtime = "tensorrt"', f'runtime = "tensorrt_rtx"\n{target}'))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('device = "mine"', 'device = "mine"\ntarget = "8.9"', "target: expected none, tensorrt compiles for"),
        ("weight_bits = [8]", "weight_bits = [9]", r"precision[0].weight_bits: expected at most 8 for int8, found 9"),
        ("weight_bits = [8]", "weight_bits = [17]", "precision[0].weight_bits[0]"),
        ("weight_bits = [8]", "weight_bits = []", "precision[0].weight_bits"),
        ("weight_bits = [8]", "weight_bits = [true]", "precision[0].weight_bits[0]"),
        ("activation_bits = [8]", "activation_bits = [16]", "precision[0].activation_bits: expected at most 8"),
        ('lowering = "int8"', 'lowering = "int4"', "precision[0].lowering"),
        ('lowering = "int8"', 'lowering = "int16"', "precision[0].lowering: expected what tensorrt executes"),
        ('lowering = "int8"', 'lowering = "int4-weight-only"', "precision[0].activation_bits: expected [16]"),
        ('lowering = "int8"', 'lowering = "int4-weight-only"', "precision[0].kinds: int4-weight-only is for layers"),
        ('kinds = "all"', 'kinds = ["stem"]', "at least one pair that is not carried for pointwise"),
        ('kinds = "all"', 'kinds = ["transposed"]', "precision[0].kinds[0]"),
        ('lowering = "int8"', 'lowering = "int8"\ncarried = true', "at least one pair that is not carried for stem"),
        ("bits = 7", "bits = 8", "unsigned_activation_bits: expected 7, the widest that tensorrt"),
        ('device = "mine"', 'device = "mine"\ncolour = "red"', "colour: unknown key"),
        ('device = "mine"', "", "device: expected this key"),
        ('runtime = "tensorrt"', 'runtime = "tflite"', "runtime: "),
        ("[[precision]]", '[rates.int8]\npeak = "130 TB"\nsource = "s"\n[[precision]]', "rates.int8.peak: expected a"),
        ("[[precision]]", '[memory]\nweights = "1 GOPS"\nsource = "s"\n[[precision]]', "memory.weights: expected a"),
        ("[[precision]]", '[memory]\nweights = "1 MB"\n[[precision]]', "memory.source: expected this key"),
        (
            "[[precision]]",
            '[[precision]]\nkinds = ["stem"]\nweight_bits = [8]\nactivation_bits = [4, 8]\n'
            'lowering = "int8"\n[[precision]]',
            "precision[1]: W8A8 for stem given already by precision[0]",
        ),
    ],
)  # fmt: skip
def test_faults_name_their_field_and_what_was_expected(old, new, expected):
    assert expected in faults(USER.replace(old, new, 1))


def test_all_faults_of_a_file_come_at_once():
    message = faults(USER.replace('device = "mine"', "weight = 1").replace("[8]", '["8"]', 1))
    assert "device: expected this key" in message
    assert "weight: unknown key" in message
    assert "precision[0].weight_bits[0]" in message


@given(st.sets(st.integers(1, 16), min_size=1))
def test_compact_widths_name_every_width_once(widths):
    found = []
    for part in compact_widths(widths).split(","):
        low, _, high = part.partition("..")
        found += range(int(low), int(high or low) + 1)
    assert found == sorted(widths)


def test_compact_pairs_are_rectangles():
    assert compact_pairs([W8A8]) == ("W8A8",)
    assert compact_pairs(ALL_PAIRS) == ("W2..8 A2..8",)
    assert compact_pairs(ALL_PAIRS - {W8A8}) == ("W2..7 A2..8", "W8 A2..7")


def test_layers_that_a_profile_does_not_name_run_as_their_nearest_relative(tmp_path):
    text = (FOLDER / "t4-int4.toml").read_text()
    named = '\n[[precision]]\nkinds = ["convolution"]\nweight_bits = [3]\nactivation_bits = [5]\nlowering = "int8"\n'
    path = tmp_path / "mine.toml"
    path.write_text(text + named)
    shipped, mine = load_profile("t4-int4"), load_profile(str(path))
    assert shipped.pairs(LayerCategory.CONVOLUTION) == shipped.pairs(LayerCategory.STEM)
    assert shipped.pairs(LayerCategory.LINEAR) == shipped.pairs(LayerCategory.CLASSIFIER)
    assert mine.pairs(LayerCategory.CONVOLUTION) == (Bits(weight=3, activation=5),)
    layer = Layer(
        name="middle",
        kind=LayerKind.CONVOLUTION,
        input=(8, 12, 16),
        out_channels=8,
        bits=Bits(weight=4, activation=16),
        window=Window.square(3, 1),
    )
    with pytest.raises(RequestError, match="middle: profile t4-int4 has no W4A16 for convolution layers; it has W8A8"):
        shipped.lower(layer)
