"""Names that are nearly right."""

from __future__ import annotations

import pytest

from qedeploy.catalog import closest, find
from qedeploy.errors import UserError
from qedeploy.profiles.loader import FOLDER, load_profile

KNOWN = ("a10-int8", "l4-int8", "t4-int4", "t4-int8", "stm32f746")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t4", ("t4-int4", "t4-int8")),
        ("T4-INT4", ("t4-int4",)),
        ("t4_int8", ("t4-int8",)),
        ("T4 int8", ("t4-int8",)),
        ("STM32", ("stm32f746",)),
        ("t4-int9", ("t4-int4", "t4-int8")),
        ("l4-int8.tml", ("l4-int8",)),
        ("nothing alike", ()),
        ("", ()),
        ("[/red]", ()),
    ],
)
def test_the_names_that_may_be_meant(name, expected):
    found = closest(name, KNOWN)
    assert found == expected or (len(expected) == 2 and found and set(found) <= set(expected))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("t4", "t4-int4 or t4-int8"), ("T4-INT4", "t4-int4"), ("CPU", "cpu-int8 or cpu-int8-avx2 or cpu-openvino")],
)
def test_a_profile_that_is_nearly_right(name, hint):
    with pytest.raises(UserError, match=rf"no profile is named '{name}' \(did you mean {hint}\?\)"):
        load_profile(name)


def test_a_path_is_taken_as_it_is():
    assert str(find("a/b", FOLDER, "profile")) == "a/b"
