"""Pictures as people keep them: every pixel mode, turned by EXIF, among other files, too large, or no picture."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from qedeploy.errors import UserError
from qedeploy.model.image_settings import ImageSettings
from qedeploy.qdq import images
from qedeploy.qdq.images import MAX_PIXELS, centre_crop, decode_image, find_images, list_images

FLOWER = np.ascontiguousarray(load_sample_images().images[1][::4, ::4])
GRAY = np.asarray(Image.fromarray(FLOWER).convert("L"))


def gray_rgb(values=GRAY):
    return np.repeat(values[:, :, np.newaxis], 3, axis=2)


def png(width: int, height: int, *, depth: int = 1, color: int = 0) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    row = b"\0" * (1 + -(-width * depth // 8))
    body = zlib.compress(row * min(height, 2))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX"])
def test_colours_stay_what_they_are(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.fromarray(FLOWER).convert(mode).save(path)
    assert np.array_equal(decode_image(path), FLOWER)


def test_alpha_is_dropped_and_leaves_the_colours_below_it(tmp_path):
    alpha = np.linspace(0, 255, GRAY.size).reshape(GRAY.shape).astype(np.uint8)
    for name, values, expected in (
        ("rgba.png", np.dstack([FLOWER, alpha]), FLOWER),
        ("la.png", np.dstack([GRAY, alpha]), gray_rgb()),
    ):
        Image.fromarray(values).save(tmp_path / name)
        assert np.array_equal(decode_image(tmp_path / name), expected)


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(64))])
def test_palettes_become_their_colours(tmp_path, transparency):
    picture = Image.fromarray(FLOWER).quantize(64)
    extra = {} if transparency is None else {"transparency": transparency}
    picture.save(tmp_path / "a.png", **extra)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode_image(tmp_path / "a.png")
    assert np.array_equal(found, np.asarray(picture.convert("RGB")))


def test_black_and_white_is_0_and_255(tmp_path):
    bright = GRAY > 100
    Image.fromarray(bright).save(tmp_path / "a.png")
    assert np.array_equal(decode_image(tmp_path / "a.png"), gray_rgb(bright.astype(np.uint8) * 255))


def test_cmyk_shows_the_picture_and_not_its_negative(tmp_path):
    Image.fromarray(FLOWER).convert("CMYK").save(tmp_path / "a.tif")
    Image.fromarray(FLOWER).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.array_equal(decode_image(tmp_path / "a.tif"), FLOWER)
    assert np.abs(decode_image(tmp_path / "a.jpg").astype(int) - FLOWER).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_16_bit_gray_is_scaled_to_8_bits(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    wide = GRAY.astype(np.uint16) * 257
    if suffix == "pgm":
        height, width = wide.shape
        path.write_bytes(f"P5 {width} {height} 65535\n".encode() + wide.astype(">u2").tobytes())
    else:
        Image.fromarray(wide).save(path, **({"irreversible": False} if suffix == "jp2" else {}))
    assert np.array_equal(decode_image(path), gray_rgb())


def test_16_bit_gray_rounds_between_the_steps_of_8_bits(tmp_path):
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(wide).save(tmp_path / "a.png")
    expected = np.rint(wide / 257).astype(np.uint8)
    assert np.array_equal(decode_image(tmp_path / "a.png"), gray_rgb(expected))


def tiff(values, *, bits: int, photometric: int = 1) -> bytes:
    """A TIFF of one strip, written by hand: Pillow writes none of these."""
    height, width = values.shape
    data = values.astype("<u2").tobytes() if bits == 16 else pack12(values)
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0\0\0\0"


def pack12(values) -> bytes:
    first, second = (values.reshape(-1, 2)[:, index].astype(int) for index in (0, 1))
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    return packed.astype(np.uint8).tobytes()


def test_a_tiff_whose_white_is_zero_is_no_negative(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(65535 - GRAY.astype(np.uint16) * 257, bits=16, photometric=0))
    assert np.array_equal(decode_image(path), gray_rgb())


def test_a_tiff_of_12_bits_is_not_nearly_black(tmp_path):
    path, gray = tmp_path / "a.tif", GRAY[:, : GRAY.shape[1] // 2 * 2]
    path.write_bytes(tiff(np.rint(gray * (4095 / 255)), bits=12))
    assert np.array_equal(decode_image(path), gray_rgb(gray))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (Image.fromarray(GRAY.astype(np.float32) / 255), "floating point numbers"),
        (Image.fromarray(GRAY.astype(np.int32) * 1000), "whole numbers of 32 bits"),
        (Image.new("LAB", (20, 20)), "CIE L"),
    ],
)
def test_pixels_without_a_known_white_are_refused_by_name(tmp_path, picture, words):
    picture.save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif: its pixels are {words}.*convert it to 8 bits"):
        decode_image(tmp_path / "a.tif")


TURNED = {
    1: FLOWER,
    2: FLOWER[:, ::-1],
    3: FLOWER[::-1, ::-1],
    4: FLOWER[::-1],
    5: FLOWER.transpose(1, 0, 2),
    6: np.rot90(FLOWER, -1),
    7: np.rot90(FLOWER, 2).transpose(1, 0, 2),
    8: np.rot90(FLOWER),
    9: FLOWER,
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_turns_the_picture(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    extra = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(FLOWER).save(path, exif=exif, **extra)
    assert np.array_equal(decode_image(path), TURNED[orientation])


def test_a_photograph_taken_upright_is_calibrated_on_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FLOWER).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = decode_image(tmp_path / "a.jpg")
    assert found.shape == (FLOWER.shape[1], FLOWER.shape[0], 3)
    assert np.abs(found.astype(int) - np.rot90(FLOWER, -1)).mean() < 4


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    Image.fromarray(FLOWER).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert np.array_equal(decode_image(tmp_path / "a.png"), FLOWER)


def test_companions_and_hidden_files_are_passed_over(tmp_path):
    for folder in ("", "__MACOSX", ".thumbnails", "sub/@eaDir"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(FLOWER).save(tmp_path / folder / "a.jpg")
    for name in ("._a.jpg", "__MACOSX/._a.jpg", "sub/._b.PNG"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00")
    (tmp_path / "b.jfif").write_bytes((tmp_path / "a.jpg").read_bytes())
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [path.name for path in find_images(tmp_path, 10)] == ["a.jpg", "b.jfif"]


def test_a_companion_that_is_named_is_named(tmp_path):
    path = tmp_path / "._a.jpg"
    path.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00" + b"\0" * 100)
    with pytest.raises(UserError, match="an AppleDouble companion"):
        decode_image(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML document"),
        (b"", "an empty file"),
    ],
)
def test_what_lies_there_in_place_of_a_picture_is_named(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.jpg: not a readable image \(found .*{words}"):
        decode_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("size", [(20_000, 20_000), (2_000_000, 51), (10_001, 10_000)])
def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path, size):
    (tmp_path / "a.png").write_bytes(png(*size))
    with pytest.raises(UserError, match=f"expected at most {MAX_PIXELS:,} pixels, found .*make it smaller"):
        decode_image(tmp_path / "a.png")


def test_a_long_strip_takes_no_more_than_it_holds(tmp_path):
    resource = pytest.importorskip("resource")
    Image.fromarray(np.tile(GRAY[:1], (1, 12_500))[:, :2_000_000]).save(tmp_path / "a.png")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = images.load_images(tmp_path, (3, 64, 64), 1, ImageSettings())
    assert found.shape == (1, 3, 64, 64)
    # Kilobytes: enlarged as a whole, it would be 2,000,000 x 74 times 73 pixels.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("shape", [(60, 480), (480, 61), (300, 400)])
def test_the_cut_of_long_sides_changes_no_picture_up_to_eight_to_one(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    whole = Image.fromarray(pixels)
    scale = 73 / min(whole.size)
    whole = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - 64) // 2, (whole.height - 64) // 2
    assert np.array_equal(centre_crop(pixels, 64), np.asarray(whole.crop((left, top, left + 64, top + 64))))


def test_one_channel_is_luma():
    found = centre_crop(FLOWER, 32, channels=1)
    assert found.shape == (32, 32, 1)
    assert np.abs(found[:, :, 0].astype(int) - centre_crop(gray_rgb(), 32)[:, :, 0]).max() <= 1


def test_heic_is_read_where_the_plug_in_is(tmp_path):
    images._pillow.cache_clear()
    pillow_heif.from_pillow(Image.fromarray(FLOWER)).save(tmp_path / "a.HEIC", quality=-1)
    assert list_images(tmp_path).skipped() == ""
    assert np.abs(decode_image(tmp_path / "a.HEIC").astype(int) - FLOWER).mean() < 4


def test_heic_and_avif_are_counted_where_no_plug_in_is(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_pillow", lambda: (Image, frozenset({".heic", ".heif", ".avif"})))
    for name in ("a.HEIC", "b.heic", "c.avif"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    words = r"1 \.avif file, 2 \.heic files skipped: .*pip install pillow-avif-plugin pillow-heif"
    with pytest.raises(UserError, match=rf"holds no images .*{words}"):
        list_images(tmp_path)
    Image.fromarray(FLOWER).save(tmp_path / "d.png")
    assert list_images(tmp_path).unreadable == {".avif": 1, ".heic": 2}


def test_which_formats_are_missing_is_asked_of_the_installation(monkeypatch):
    monkeypatch.setattr(images, "find_spec", lambda _name: None)
    monkeypatch.setattr("PIL.features.check", lambda _name: False)
    images._pillow.cache_clear()
    try:
        assert images._pillow()[1] == {".heic", ".heif", ".avif"}
    finally:
        images._pillow.cache_clear()


def test_a_stream_is_decoded_under_the_name_it_is_given():
    stream = io.BytesIO()
    Image.fromarray(FLOWER).save(stream, "PNG")
    assert np.array_equal(decode_image(io.BytesIO(stream.getvalue()), "row 3"), FLOWER)
    with pytest.raises(UserError, match="row 3: not a readable image"):
        decode_image(io.BytesIO(stream.getvalue()[:200]), "row 3")


def test_a_pipe_is_no_picture(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UserError, match="is a device, a pipe or a socket"):
        decode_image(tmp_path / "a.png")
