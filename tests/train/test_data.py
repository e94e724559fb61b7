"""Every kind of data gives the same pictures and labels, and what is wrong with them is said in a line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qedeploy.errors import UserError
from qedeploy.train.data import class_places, open_data, open_test_data, split
from qedeploy.train.source import CorruptImageError, fingerprint

NAMES = ("ant", "bee", "cat")


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(number)).save(stream, "png")
    return stream.getvalue()


def folders(root: Path, names=NAMES, each: int = 4) -> Path:
    for label, name in enumerate(names):
        (root / name / "deeper").mkdir(parents=True)
        for number in range(each):
            place = root / name / ("deeper" if number % 2 else ".") / f"{number}.png"
            place.write_bytes(png(10 * label + number))
    return root


def shard(path: Path, numbers, label, suffix: str = "cls") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            for name, content in ((f"{number:05d}.png", png(number)), (f"{number:05d}.{suffix}", label(number))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def refused(path: Path, match: str, opening=open_data) -> None:
    with pytest.raises(UserError, match=match) as caught:
        opening(path)
    assert "\n" not in str(caught.value)


def test_class_folders(tmp_path):
    source = open_data(folders(tmp_path)).train
    assert source.classes == NAMES
    assert source.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    found = {source.name(index): source.picture(index) for index in range(12)}
    np.testing.assert_array_equal(found[str(tmp_path / "bee" / "deeper" / "1.png")], picture(11))


@pytest.mark.parametrize("test_name", ["val", "test", "validation"])
def test_a_tree_with_two_parts(tmp_path, test_name):
    folders(tmp_path / "train")
    folders(tmp_path / test_name, each=2)
    data = open_data(tmp_path)
    assert (len(data.train.labels), len(data.test.labels)) == (12, 6)
    assert len(open_test_data(tmp_path).labels) == 6
    assert len(open_test_data(tmp_path / "train").labels) == 12


def test_what_file_managers_leave_behind_is_no_picture(tmp_path):
    folders(tmp_path)
    (tmp_path / "ant" / "._0.png").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".cache").mkdir()
    assert len(open_data(tmp_path).train.labels) == 12


@pytest.mark.parametrize("suffix", ["cls", "json"])
@pytest.mark.parametrize("named", [True, False])
def test_shards(tmp_path, suffix, named):
    def label(number: int) -> bytes:
        text = NAMES[number % 3] if named else str(number % 3)
        return json.dumps({"label": text}).encode() if suffix == "json" else text.encode()

    shard(tmp_path / "data-0000.tar", range(5), label, suffix)
    shard(tmp_path / "data-0001.tar", range(5, 9), label, suffix)
    source = open_data(tmp_path).train
    assert source.classes == (NAMES if named else ("0", "1", "2"))
    assert source.labels.tolist() == [number % 3 for number in range(9)]
    for number in (0, 4, 8):
        np.testing.assert_array_equal(source.picture(number), picture(number))
    assert source.name(8) == f"{tmp_path}/data-0001.tar:00008.png"


def test_shards_with_names_of_classes_and_two_parts(tmp_path):
    shard(tmp_path / "train-0.tar", range(6), lambda number: str(number % 3).encode())
    shard(tmp_path / "val-0.tar", range(3), lambda number: str(number % 3).encode())
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    data = open_data(tmp_path)
    assert (data.train.classes, data.test.classes) == (NAMES, NAMES)


@pytest.mark.parametrize(
    "keys", [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "val_images", "val_labels")]
)
@pytest.mark.parametrize("form", ["gray", "last", "first", "float"])
def test_arrays(tmp_path, keys, form):
    images = np.stack([picture(number) for number in range(9)])
    stored = {
        "gray": images[..., 0],
        "last": images,
        "first": np.moveaxis(images, -1, 1),
        "float": images.astype(np.float64) / 255,
    }[form]
    labels = np.arange(9) % 3
    np.savez(tmp_path / "data.npz", **dict(zip(keys, (stored, labels, stored[:3], labels[:3]), strict=True)))
    data = open_data(tmp_path / "data.npz")
    assert data.test is not None
    expected = images[..., :1] if form == "gray" else images
    np.testing.assert_array_equal(data.train.picture(4), expected[4])
    assert data.test.labels.tolist() == [0, 1, 2]


def test_the_held_out_part_is_the_same_again_and_apart(tmp_path):
    source = open_data(folders(tmp_path, each=20)).train
    train, held_out = split(source, 0.2, 0)
    assert (len(train), len(held_out)) == (48, 12)
    assert sorted([*train.places, *held_out.places]) == list(range(60))
    assert split(source, 0.2, 0)[1].places.tolist() == held_out.places.tolist()
    assert split(source, 0.2, 1)[1].places.tolist() != held_out.places.tolist()


def test_a_fingerprint_tells_data_apart(tmp_path):
    first = open_data(folders(tmp_path / "a")).train
    assert fingerprint(first) == fingerprint(open_data(folders(tmp_path / "b")).train)
    assert fingerprint(first) != fingerprint(open_data(folders(tmp_path / "c", each=3)).train)


def test_classes_go_by_name_where_the_network_knows_them(tmp_path):
    source = open_data(folders(tmp_path)).train
    assert class_places(source, ("cat", "bee", "ant", "dog"), 4).tolist() == [2, 1, 0]
    assert class_places(source, (), 3).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="has no class bee"):
        class_places(source, ("ant", "cat"), 2)
    with pytest.raises(UserError, match=r"3 classes .* and the network has 2"):
        class_places(source, (), 2)


def test_what_is_no_data(tmp_path):
    refused(tmp_path / "gone", "no such folder")
    refused(tmp_path, "expected a folder for each class")
    (tmp_path / "notes.txt").write_text("?")
    refused(tmp_path / "notes.txt", "expected a folder of class folders")
    folders(tmp_path / "one", names=("ant",))
    refused(tmp_path / "one", "one class")
    folders(tmp_path / "empty")
    (tmp_path / "empty" / "zebra").mkdir()
    refused(tmp_path / "empty", "no pictures in zebra")
    folders(tmp_path / "parts" / "train")
    folders(tmp_path / "parts" / "val", names=("ant", "wasp"))
    refused(tmp_path / "parts", "classes that .*train lacks: wasp")
    folders(tmp_path / "only" / "val")
    refused(tmp_path / "only", "none to train on")


def test_what_are_no_shards(tmp_path):
    (tmp_path / "a").mkdir()
    whole = shard(tmp_path / "whole.tar", range(6), lambda number: str(number % 3).encode())
    (tmp_path / "a" / "cut.tar").write_bytes(whole.read_bytes()[:1800])
    refused(tmp_path / "a" / "cut.tar", r"cut\.tar: damaged")
    (tmp_path / "a" / "text.tar").write_text("not a tar file")
    refused(tmp_path / "a" / "text.tar", r"text\.tar: damaged, or not an uncompressed")
    shard(tmp_path / "b.tar", range(2), lambda number: b"")
    refused(tmp_path / "b.tar", "no label beside it")
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    refused(whole, "label '2' of a picture is none of the 2 classes")


PIXELS = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": PIXELS}, "expected images and labels"),
        ({"images": PIXELS, "labels": np.arange(2)}, "expected 3 whole numbers"),
        ({"images": PIXELS, "labels": np.arange(3) - 1}, "expected labels from 0, found -1"),
        ({"images": np.zeros((3, 4, 4, 5), np.uint8), "labels": np.arange(3)}, "with 1 or 3 channels"),
        ({"images": np.full((3, 4, 4), 16.0), "labels": np.arange(3)}, "found float64 from 16"),
        ({"images": np.full((3, 4, 4), np.nan), "labels": np.arange(3)}, "floating point from 0 to 1"),
        ({"images": np.zeros((0, 4, 4), np.uint8), "labels": np.arange(0)}, "holds no pictures"),
        ({"images": PIXELS, "labels": np.array([0, 2, 2])}, "no pictures of 1"),
        ({"images": PIXELS, "labels": np.arange(3), "classes": np.array(["a"])}, "name every class"),
    ],
)
def test_what_are_no_arrays(tmp_path, arrays, match):
    np.savez(tmp_path / "data.npz", **arrays)
    refused(tmp_path / "data.npz", match)


def test_an_archive_of_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "data.npz", images=np.array([object()]), labels=np.arange(1))
    refused(tmp_path / "data.npz", "not a readable array file")


def test_a_broken_picture_is_named(tmp_path):
    folders(tmp_path)
    broken = tmp_path / "bee" / "0.png"
    broken.write_bytes(png(10)[:60])
    source = open_data(tmp_path).train
    index = [source.name(number) for number in range(12)].index(str(broken))
    with pytest.raises(CorruptImageError, match=r"bee/0\.png: not a readable image"):
        source.picture(index)
