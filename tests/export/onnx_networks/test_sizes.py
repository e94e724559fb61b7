"""Sizes that a user gives for what a file leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.sizes import OpenInput, parse_sizes, resolve_sizes

FILE = Path("net.onnx")
IMAGE = OpenInput(name="x", sizes=("batch", 3, "height", None))


def resolved(*texts: str, tensors=(IMAGE,)):
    return resolve_sizes(tensors, parse_sizes(texts), FILE)


@pytest.mark.parametrize(
    ("texts", "shape"),
    [
        (("x=2x3x48x320",), (2, 3, 48, 320)),
        (("1x3x48x320",), (1, 3, 48, 320)),
    ],
)
def test_an_inputs_shape_is_given_by_name_or_as_the_only_one(texts, shape):
    assert resolved(*texts) == {"x": shape}


def test_dimensions_are_given_by_name_and_an_open_batch_is_one():
    tensor = OpenInput(name="x", sizes=("batch", 3, "height", "width"))
    assert resolved("height=48", "width=320", tensors=(tensor,)) == {"x": (1, 3, 48, 320)}
    assert resolved("batch=4", "height=8", "width=8", tensors=(tensor,)) == {"x": (4, 3, 8, 8)}


def test_a_vector_input_of_one_size_is_given_by_the_inputs_name():
    assert resolved("t=7", tensors=(OpenInput(name="t", sizes=(None,)),)) == {"t": (7,)}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), ["net.onnx", "'x'", "size 2 is open", "--shape x=1x3xNxN"]),
        (("height=48",), ["size 3 is open", "--shape"]),
        (("x=1x4x48x320",), ["size 1 is fixed at 3", "found 4"]),
        (("x=1x3x48",), ["expected 4 sizes"]),
        (("y=1x3x48x320",), ["no such input", "x"]),
        (("depth=48",), ["depth", "batch, height"]),
        (("x=1x3x0x320",), ["at least 1"]),
        (("x=1x3x-4x320",), ["at least 1"]),
        (("x=axb",), ["expected sizes"]),
        (("",), ["expected sizes"]),
        (("x=1x3x4x5", "x=1x3x4x5"), ["twice"]),
    ],
)
def test_what_cannot_be_right_is_named_with_the_option(texts, words):
    with pytest.raises(UserError) as caught:
        resolved(*texts)
    assert all(word in str(caught.value) for word in words), caught.value
    assert caught.value.exit_code == 2


def test_two_inputs_need_names():
    tensors = (OpenInput(name="a", sizes=(None, 3)), OpenInput(name="b", sizes=(None, 3)))
    with pytest.raises(UserError, match="a, b"):
        resolved("1x3", tensors=tensors)
