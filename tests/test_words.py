import pytest

from qedeploy.words import counted, listed


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), ("a", "a"), ("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), (range(10), "0, 1, 2 and 7 more")],
)
def test_long_lists_say_how_many_more(items, text):
    assert listed(items) == text


def test_the_number_and_the_separator_can_be_chosen():
    assert listed("abcd", 2, "; ") == "a; b and 2 more"


@pytest.mark.parametrize(("count", "text"), [(0, "0 layers"), (1, "1 layer"), (2, "2 layers")])
def test_counts_agree_with_their_noun(count, text):
    assert counted(count, "layer") == text
