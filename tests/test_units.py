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
    format_rate,
    parse_quantity,
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
]
BAD = [
    ("7.0GB", Quantity.COUNT),
    ("2.2M", Quantity.BYTES),
    ("2.2mb", Quantity.BYTES),
    ("130", Quantity.RATE),
    (130, Quantity.RATE),
    ("130 TB", Quantity.RATE),
    ("320 GB", Quantity.BANDWIDTH),
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


@given(st.floats(min_value=1e-3, max_value=1e18))
def test_what_is_printed_reads_back_to_the_digits_shown(number):
    assert parse_quantity(format_count(number), Quantity.COUNT) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_bytes(number), Quantity.BYTES) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_rate(number), Quantity.RATE) == pytest.approx(number, rel=6e-4)
    assert parse_quantity(format_bandwidth(number), Quantity.BANDWIDTH) == pytest.approx(number, rel=6e-4)


def test_a_figure_takes_the_prefix_of_what_is_printed():
    assert format_count(999.99e6) == "1G"
    assert format_bytes(327680) == "320 KiB"
    assert format_rate(130e12) == "130 TOPS"
    assert format_rate(65e12, floating=True) == "65 TFLOPS"
