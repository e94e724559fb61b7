import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.units import (
    Quantity,
    QuantityError,
    format_bandwidth,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    parse_quantity,
    parse_seconds,
)

GOOD = [
    ("7.0G", Quantity.COUNT, 7e9),
    ("109e6", Quantity.COUNT, 109e6),
    ("47", Quantity.COUNT, 47.0),
    (47, Quantity.COUNT, 47.0),
    (" .5 M ", Quantity.COUNT, 5e5),
    ("2.2MB", Quantity.BYTES, 2.2e6),
    ("320KiB", Quantity.BYTES, 327680.0),
    ("1MiB", Quantity.BYTES, 1048576.0),
    ("1048576", Quantity.BYTES, 1048576.0),
    ("130 TOPS", Quantity.RATE, 130e12),
    ("65 TFLOPS", Quantity.RATE, 65e12),
    ("320 GB/s", Quantity.BANDWIDTH, 320e9),
    ("4ms", Quantity.DURATION, 0.004),
    ("812.5 us", Quantity.DURATION, 0.0008125),
    ("812.5 \u00b5s", Quantity.DURATION, 0.0008125),
    ("812.5\u03bcs", Quantity.DURATION, 0.0008125),
    ("250 ns", Quantity.DURATION, 2.5e-7),
    ("1.25 s", Quantity.DURATION, 1.25),
    ("4e-05 s", Quantity.DURATION, 4e-5),
    ("2min", Quantity.DURATION, 120.0),
]
BAD = [
    ("7.0GB", Quantity.COUNT),
    ("2.2M", Quantity.BYTES),
    ("2.2mb", Quantity.BYTES),
    ("130", Quantity.RATE),
    (130, Quantity.RATE),
    ("130 TB", Quantity.RATE),
    ("320 GB", Quantity.BANDWIDTH),
    ("4", Quantity.DURATION),
    (0.004, Quantity.DURATION),
    ("0ms", Quantity.DURATION),
    ("4 MB", Quantity.DURATION),
    ("0", Quantity.COUNT),
    (0, Quantity.COUNT),
    (-1, Quantity.COUNT),
    ("-1", Quantity.COUNT),
    ("nan", Quantity.COUNT),
    ("inf", Quantity.COUNT),
    (float("nan"), Quantity.BYTES),
    ("1e999", Quantity.COUNT),
    ("", Quantity.COUNT),
    ("G", Quantity.COUNT),
    (True, Quantity.COUNT),
    (None, Quantity.BYTES),
    ([1], Quantity.COUNT),
    ("\u0661", Quantity.COUNT),
]


@pytest.mark.parametrize(("text", "quantity", "value"), GOOD)
def test_quantities_are_read(text, quantity, value):
    assert parse_quantity(text, quantity) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(("text", "quantity"), BAD)
def test_wrong_quantities_say_what_was_expected(text, quantity):
    with pytest.raises(QuantityError, match="expected a positive"):
        parse_quantity(text, quantity)


def test_a_near_miss_names_the_unit():
    with pytest.raises(UserError, match="did you mean MB"):
        parse_quantity("2.2mb", Quantity.BYTES)
    with pytest.raises(UserError, match="did you mean KiB"):
        parse_quantity("320Ki", Quantity.BYTES)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("4MS", "ms"), ("4 msec", "ms"), ("4m", "ms"), ("4 sec", "s"), ("4usec", "us"), ("1 minute", "min")],
)
def test_a_mistyped_unit_of_time_is_named(text, unit):
    with pytest.raises(UserError, match=rf"did you mean {unit}\?"):
        parse_quantity(text, Quantity.DURATION)


def test_small_units_give_the_nearest_number():
    # 9 * 0.001 is not 0.009.
    assert [parse_quantity(f"{n}ms", Quantity.DURATION) for n in range(1, 1000)] == [n / 1000 for n in range(1, 1000)]
    assert [parse_quantity(f"{n}us", Quantity.DURATION) for n in range(1, 1000)] == [n / 1e6 for n in range(1, 1000)]


@given(st.floats(min_value=1e-3, max_value=1e18))
def test_what_is_printed_reads_back_to_the_digits_shown(number):
    assert parse_quantity(format_count(number), Quantity.COUNT) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_bytes(number), Quantity.BYTES) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_rate(number), Quantity.RATE) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_bandwidth(number), Quantity.BANDWIDTH) == pytest.approx(number, rel=6e-4)


@given(st.floats(min_value=1e-9, max_value=1e4))
def test_a_printed_duration_reads_back_to_the_digits_shown(seconds):
    assert parse_quantity(format_duration(seconds), Quantity.DURATION) == pytest.approx(seconds, rel=6e-4)


def test_a_figure_takes_the_prefix_of_what_is_printed():
    assert format_count(999.99e6) == "1G"
    assert format_bytes(327680) == "320 KiB"
    assert [format_duration(value) for value in (0.004, 8.125e-4, 1.25, 9.99999e-4, 2.5e-7)] == [
        "4 ms", "812.5 us", "1.25 s", "1 ms", "250 ns",
    ]  # fmt: skip
    assert format_rate(130e12) == "130 TOPS"
    assert format_rate(65e12, floating=True) == "65 TFLOPS"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("3", 3.0),
        ("3s", 3.0),
        (" 1.5 s ", 1.5),
        ("50us", 5e-5),
        ("1min", 60.0),
        ("0ms", 0.0),
        ("1e3", 1e3),
    ],
)
def test_a_time_to_spend_may_go_without_its_unit_and_may_be_nothing(text, seconds):
    assert parse_seconds(text, "--duration") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "-3s", "3 hours", "nan", "3ss", "1e999"])
def test_what_is_no_time_is_named(text):
    with pytest.raises(UserError, match="--duration: expected a time such as 200ms"):
        parse_seconds(text, "--duration")


def test_a_misspelt_unit_of_time_is_hinted_at():
    with pytest.raises(UserError, match="found '3 sec'; did you mean s"):
        parse_seconds("3 sec", "--duration")
