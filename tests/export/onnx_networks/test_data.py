"""Data of the user's: images and arrays."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.data import load_samples
from qedeploy.model.image_settings import ImageSettings

INPUTS = {"x": (1, 3, 8, 12)}
PLAIN = ImageSettings(mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0))


def load(folder, inputs=INPUTS, limit=16):
    return load_samples(folder, inputs, limit, PLAIN)


def test_images_are_resized_to_the_input_and_spread_over_the_folder(tmp_path):
    for number in range(5):
        Image.new("RGB", (20, 30), (51 * number, 0, 255)).save(tmp_path / f"{number}.png")
    samples = load(tmp_path, limit=3)
    assert [sample.source.name for sample in samples] == ["0.png", "2.png", "4.png"]
    assert samples[1].feed["x"].shape == (1, 3, 8, 12)
    np.testing.assert_allclose(samples[1].feed["x"][0, :, 0, 0], [102 / 255, 0, 1], atol=1e-6)


def test_an_array_file_holds_one_sample_or_many(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 3, 8, 12)).astype(np.float32)
    np.save(tmp_path / "many.npy", array)
    np.save(tmp_path / "one.npy", array[0])
    samples = load(tmp_path)
    assert len(samples) == 6
    np.testing.assert_array_equal(samples[2].feed["x"], array[2:3])
    assert len(load(tmp_path / "many.npy", limit=2)) == 2


def test_named_inputs_come_from_npz(tmp_path):
    inputs = {"x": (1, 4), "length": (1,)}
    np.savez(tmp_path / "a.npz", x=np.ones((3, 4), np.float32), length=np.asarray([1, 2, 3]))
    samples = load(tmp_path, inputs)
    assert [int(sample.feed["length"][0]) for sample in samples] == [1, 2, 3]


def write(tmp_path, name, **arrays):
    if name.endswith(".npz"):
        np.savez(tmp_path / name, **arrays)
    else:
        np.save(tmp_path / name, next(iter(arrays.values())))


@pytest.mark.parametrize(
    ("name", "arrays", "inputs", "words"),
    [
        ("a.npy", {"x": np.ones((1, 3, 8, 9), np.float32)}, INPUTS, r"array 'x' is 1x3x8x9: expected 1x3x8x12"),
        ("a.npy", {"x": np.ones((0, 3, 8, 12), np.float32)}, INPUTS, r"expected 1x3x8x12"),
        ("a.npy", {"x": np.full((1, 3, 8, 12), np.nan, np.float32)}, INPUTS, "NaN"),
        ("a.npz", {"y": np.ones((1, 3, 8, 12))}, INPUTS, "no array for input x: found y"),
        ("a.npy", {"x": np.ones((1, 4))}, {"x": (1, 4), "z": (1,)}, r"\.npz files with these names"),
        ("a.npz", {"x": np.ones((2, 4)), "z": np.ones(3)}, {"x": (1, 4), "z": (1,)}, "as many samples"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, name, arrays, inputs, words):
    write(tmp_path, name, **arrays)
    with pytest.raises(UserError, match=words):
        load(tmp_path, inputs)


def test_folders_that_do_not_serve_are_named(tmp_path):
    with pytest.raises(UserError, match="expected a folder of images or of"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no images and no"):
        load(tmp_path)
    (tmp_path / "bad.npy").write_bytes(b"not an array")
    with pytest.raises(UserError, match=r"bad\.npy: not a readable array file"):
        load(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="both images and arrays"):
        load(tmp_path)


def test_a_pickle_in_an_array_file_is_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.asarray([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a readable array file"):
        load(tmp_path)


@pytest.mark.parametrize("inputs", [{"x": (1, 3, 8, 12), "y": (1,)}, {"x": (1, 7, 8, 12)}, {"x": (1, 12)}])
def test_images_serve_one_image_input_alone(tmp_path, inputs):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"expected arrays \(\.npz"):
        load(tmp_path, inputs)
