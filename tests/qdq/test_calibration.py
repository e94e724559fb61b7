from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_sample_images

from qedeploy.errors import UserError
from qedeploy.model.image_settings import ImageSettings
from qedeploy.network.graph import structure_graph
from qedeploy.qdq.calibration import Wanted, best_step, calibrate
from qedeploy.qdq.fold import fold
from qedeploy.qdq.images import find_images, load_images, parse_normalisation, random_images
from qedeploy.qdq.plan import Grid
from tests.export.networks import random_trained, small_structure


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_the_step_is_as_good_as_scipys(bits, signed):
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(bits))
    values = values if signed else values.relu()
    wanted = Wanted(bits=bits, signed=signed, nonnegative=not signed)

    def error(step):
        grid = wanted.grid(step)
        rounded = torch.clamp(torch.round(values / step), grid.low, grid.high) * step
        return float((rounded - values).square().mean())

    best = minimize_scalar(error, bounds=(1e-3, 4.0), method="bounded", options={"xatol": 1e-6})
    assert error(best_step(values, wanted)) <= 1.01 * best.fun


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e-38])
def test_values_that_say_nothing_leave_a_step_of_one(value):
    assert best_step(torch.full((100,), value), Wanted(bits=4, signed=False, nonnegative=True)) == 1.0


def test_a_ceiling_narrows_the_grid_to_what_it_rounds_to():
    assert Grid.of(bits=8, signed=False, step=0.05, ceiling=6.0).high == 120
    assert Grid.of(bits=8, signed=False, step=0.01, ceiling=6.0).high == 255


def test_trained_steps_are_never_touched_and_later_layers_see_earlier_ones_rounded():
    structure = small_structure()
    trained = random_trained(structure)
    layers = {name: fold(layer) for name, layer in trained.layers.items()}
    wanted = dict(trained.grids)
    wanted["pool"] = Wanted(bits=8, signed=False, nonnegative=True)
    images = random_images(structure.image_sizes, 3, 0)
    found = calibrate(structure_graph(structure).operations, layers, wanted, images, integer_bias=True)
    assert {name: found.grids[name] for name in trained.grids if name != "pool"} == {
        name: grid for name, grid in trained.grids.items() if name != "pool"
    }
    coarse = dict(wanted)
    coarse["stem"] = Grid.of(bits=2, signed=False, step=2.0)
    other = calibrate(structure_graph(structure).operations, layers, coarse, images, integer_bias=True)
    assert other.grids["pool"].step != found.grids["pool"].step


@pytest.fixture
def photographs(tmp_path):
    """Scikit-learn's two photographs, in nested folders and two formats."""
    china, flower = load_sample_images().images
    (tmp_path / "a" / "b").mkdir(parents=True)
    Image.fromarray(china).save(tmp_path / "a" / "china.jpg")
    Image.fromarray(flower).convert("L").save(tmp_path / "a" / "b" / "flower.PNG")
    return tmp_path


def test_photographs_are_cropped_and_normalised(photographs):
    structure = small_structure(resolution=32)
    images = load_images(photographs, structure.image_sizes, 10, ImageSettings())
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == torch.float32
    raw = load_images(
        photographs, structure.image_sizes, 10, ImageSettings(mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0))
    )
    assert raw.min() >= 0
    assert raw.max() <= 1
    expected = (raw - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    assert torch.allclose(images, expected, atol=1e-6)
    # The middle of a picture stays its middle.
    china = np.asarray(Image.open(photographs / "a" / "china.jpg"), np.float32) / 255
    square = china[:, 106:534]
    # 0.875 of the shorter side is kept, 374 of 427 pixels.
    middle = square[27:-27, 27:-27].mean(axis=(0, 1))
    assert raw[1].mean(dim=(1, 2)).numpy() == pytest.approx(middle, abs=0.02)


def test_a_limit_spreads_over_the_folder(tmp_path):
    for index in range(10):
        (tmp_path / f"{index}.png").touch()
    assert [path.stem for path in find_images(tmp_path, 4)] == ["0", "3", "6", "9"]


def test_what_cannot_be_calibrated_on(tmp_path, photographs):
    structure = small_structure(resolution=32)
    with pytest.raises(UserError, match="expected a folder of images"):
        find_images(tmp_path / "missing", 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        find_images(tmp_path / "empty", 4)
    broken = photographs / "a" / "broken.jpg"
    broken.write_bytes((photographs / "a" / "china.jpg").read_bytes()[:2000])
    with pytest.raises(UserError, match=r"broken\.jpg: not a readable image"):
        load_images(photographs, structure.image_sizes, 10, ImageSettings())
    broken.write_text("not an image")
    with pytest.raises(UserError, match=r"broken\.jpg: not a readable image \(found text"):
        load_images(photographs, structure.image_sizes, 10, ImageSettings())


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,2,3,4", "nan,1,1", "0,1,1"])
def test_a_normalisation_that_is_none(text):
    with pytest.raises(UserError, match="--deviation: expected"):
        parse_normalisation("0,0,0", text)
