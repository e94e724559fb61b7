"""Labelled pictures for networks that read text: lines, turned lines and pages, drawn with a font that is installed."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_ALPHABET = string.ascii_letters + string.digits
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture (channels, height, width) in -1..1 or normalised, and what is to be read from it."""

    pixels: NDArray[np.float32]
    label: str


def text_line(generator: np.random.Generator, height: int = 48, width: int = 320) -> tuple[Image.Image, str]:
    """Return a drawn line of a few words, fitted into the size as text readers expect it, and the words."""
    words = [
        "".join(generator.choice(list(_ALPHABET), generator.integers(2, 8))) for _ in range(generator.integers(2, 4))
    ]
    text = " ".join(words)
    font = _font(_FONTS[generator.integers(len(_FONTS))], 36)
    left, top, right, bottom = font.getbbox(text)
    paper, ink = (int(value) for value in (generator.integers(190, 256), generator.integers(0, 90)))
    line = Image.new("L", (int(right - left) + 12, int(bottom - top) + 12), paper)
    ImageDraw.Draw(line).text((6 - left, 6 - top), text, fill=ink, font=font)
    scaled = line.resize((min(width, round(line.width * height / line.height)), height), Image.Resampling.BILINEAR)
    whole = Image.new("L", (width, height), paper)
    whole.paste(scaled, (0, 0))
    noise = generator.normal(0, 6, (height, width))
    return Image.fromarray(np.clip(np.asarray(whole, np.float64) + noise, 0, 255).astype(np.uint8)), text


def text_page(generator: np.random.Generator, size: int) -> Image.Image:
    """Return a drawn page of lines of random words, `size` pixels square."""
    page = Image.new("L", (size, size), int(generator.integers(200, 256)))
    draw = ImageDraw.Draw(page)
    height = int(generator.integers(11, 20))
    font = _font(_FONTS[generator.integers(len(_FONTS))], height)
    for top in range(6, size - height - 4, round(height * 1.6)):
        words = ["".join(generator.choice(list(_ALPHABET), generator.integers(2, 9))) for _ in range(8)]
        draw.text(
            (int(generator.integers(4, 20)), top), " ".join(words), fill=int(generator.integers(0, 70)), font=font
        )
    return page


def lines(count: int, seed: int) -> list[Picture]:
    """Return `count` text lines of 48x320 and their words."""
    generator = np.random.default_rng(seed)
    return [Picture(pixels=_halves(image), label=text) for image, text in (text_line(generator) for _ in range(count))]


def turned_lines(count: int, seed: int) -> list[Picture]:
    """Return `count` text lines of 48x192, every second one upside down, labelled 0 and 1."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        image, _ = text_line(generator, width=192)
        turned = image.rotate(180) if number % 2 else image
        found.append(Picture(pixels=_halves(turned), label=str(number % 2)))
    return found


def turned_pages(count: int, seed: int, size: int = 224) -> list[Picture]:
    """Return `count` pages turned by 0, 90, 180 and 270 degrees, labelled 0 to 3, normalised as ImageNet is."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        image = text_page(generator, size).rotate(-90 * (number % 4))
        found.append(Picture(pixels=_as_imagenet(image), label=str(number % 4)))
    return found


def pages(count: int, seed: int, size: int = 320) -> list[Picture]:
    """Return `count` pages without labels."""
    generator = np.random.default_rng(seed)
    return [Picture(pixels=_as_imagenet(text_page(generator, size)), label="") for _ in range(count)]


def read_line(probabilities: NDArray[np.floating], characters: Sequence[str]) -> str:
    """Return the text in `probabilities` (steps, 1 + characters + blank): best class, repeats and blanks dropped."""
    best = probabilities.argmax(axis=-1)
    kept = [int(c) for index, c in enumerate(best) if c != 0 and (index == 0 or c != best[index - 1])]
    return "".join(characters[c - 1] if c <= len(characters) else " " for c in kept)


def characters_right(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return one minus the edit distance over the number of characters, spaces left out."""
    distance = sum(_edits(a.replace(" ", ""), b.replace(" ", "")) for a, b in zip(found, wanted, strict=True))
    return 1 - distance / sum(len(text.replace(" ", "")) for text in wanted)


def _edits(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def _halves(image: Image.Image) -> NDArray[np.float32]:
    pixels = np.asarray(image, np.float32) / 127.5 - 1
    return np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape)))


def _as_imagenet(image: Image.Image) -> NDArray[np.float32]:
    mean, deviation = (
        np.asarray(values, np.float32)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return np.asarray(((_halves(image) + 1) / 2 - mean) / deviation, np.float32)


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    # Matplotlib brings the DejaVu fonts with it, so that the pictures are the same everywhere.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
