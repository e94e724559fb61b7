"""What a file is, told by its first bytes: names and suffixes lie, above all about downloads that went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

HEAD_BYTES = 1024
"""How much of a file `sniff` wants to see; less is enough for most kinds."""


class ContentKind(StrEnum):
    """Kinds that the code, and not only a message, tells apart."""

    EMPTY = "empty"
    TEXT = "text"
    ZIP = "zip"
    PICKLE = "pickle"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    LITERT = "litert"
    POINTER = "pointer"
    PAGE = "page"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file holds: `name` with its article, for `found a ...`; `mend` is what to do about it, "" for nothing."""

    kind: ContentKind
    name: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.mend}" if self.mend else self.name


def _unpack(name: str, command: str) -> Content:
    return Content(kind=ContentKind.OTHER, name=name, mend=f"unpack it first ({command})")


_DOWNLOAD = "a page was saved in place of the file: download it again, logged in where that is needed"
_MAGIC: tuple[tuple[bytes, Content], ...] = (
    (
        b"version https://git-lfs.github.com/spec/",
        Content(
            kind=ContentKind.POINTER,
            name="a Git LFS pointer and not the file that it stands for",
            mend="run `git lfs pull`",
        ),
    ),
    (
        b"/annex/objects/",
        Content(
            kind=ContentKind.POINTER,
            name="a git-annex pointer and not the file it stands for",
            mend="run `git annex get`",
        ),
    ),
    (
        b"\x00\x05\x16\x07",
        Content(
            kind=ContentKind.OTHER,
            name="an AppleDouble companion that macOS leaves beside a file",
            mend="use the file without `._`",
        ),
    ),
    (b"PK\x03\x04", Content(kind=ContentKind.ZIP, name="a zip archive")),
    (b"PK\x05\x06", Content(kind=ContentKind.ZIP, name="an empty zip archive")),
    (b"\x1f\x8b", _unpack("a gzip archive", "gunzip, or tar -xzf")),
    (b"BZh", _unpack("a bzip2 archive", "bunzip2, or tar -xjf")),
    (b"\xfd7zXZ\x00", _unpack("an xz archive", "unxz, or tar -xJf")),
    (b"\x28\xb5\x2f\xfd", _unpack("a zstd archive", "unzstd")),
    (b"7z\xbc\xaf\x27\x1c", _unpack("a 7z archive", "7z x")),
    (b"Rar!", _unpack("a RAR archive", "unrar x")),
    (b"\x89HDF\r\n\x1a\n", Content(kind=ContentKind.OTHER, name="an HDF5 file, as Keras writes")),
    (b"\x93NUMPY", Content(kind=ContentKind.OTHER, name="a NumPy array")),
    (b"GGUF", Content(kind=ContentKind.OTHER, name="a GGUF file of language-model weights")),
    (b"ftrt", Content(kind=ContentKind.OTHER, name="a TensorRT engine")),
    (b"\x7fELF", Content(kind=ContentKind.OTHER, name="a Linux program or library")),
    (b"MZ\x90\x00", Content(kind=ContentKind.OTHER, name="a Windows program or library")),
    (b"\x89PNG", Content(kind=ContentKind.OTHER, name="a PNG image")),
    (b"\xff\xd8\xff", Content(kind=ContentKind.OTHER, name="a JPEG image")),
    (b"GIF8", Content(kind=ContentKind.OTHER, name="a GIF image")),
    (b"%PDF", Content(kind=ContentKind.OTHER, name="a PDF document")),
    (b"SQLite format 3\x00", Content(kind=ContentKind.OTHER, name="an SQLite database")),
    (b"\xff\xfe", Content(kind=ContentKind.OTHER, name="text in UTF-16", mend="save it as UTF-8")),
    (b"\xfe\xff", Content(kind=ContentKind.OTHER, name="text in UTF-16", mend="save it as UTF-8")),
)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")
_ONNX_SECOND_FIELDS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72})
_LARGEST_HEADER = 100_000_000
"""Bytes that safetensors allows its header."""


def sniff(head: bytes) -> Content:
    """Return what a file that begins with `head` is.

    >>> sniff(b"version https://git-lfs.github.com/spec/v1").kind
    <ContentKind.POINTER: 'pointer'>
    >>> str(sniff(b"<!DOCTYPE html><html>"))[:16]
    'an HTML document'
    """
    if not head:
        return Content(kind=ContentKind.EMPTY, name="an empty file", mend="copy it again")
    for magic, content in _MAGIC:
        if head.startswith(magic):
            return content
    start = head[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((*_PAGES, b"<?xml")):
        return Content(
            kind=ContentKind.PAGE, name="an XML document" if start[1:2] == b"?" else "an HTML document", mend=_DOWNLOAD
        )
    return _by_structure(head)


def found_instead(head: bytes, expected: ContentKind | None = None) -> str:
    """Return ", found ..." for what a file is in place of what was `expected`; "" where that cannot be told.

    >>> found_instead(b"GIF8", ContentKind.ONNX)
    ', found a GIF image'
    """
    found = sniff(head[:HEAD_BYTES])
    return "" if found.kind in {expected, ContentKind.UNKNOWN} else f", found {found}"


def _by_structure(head: bytes) -> Content:
    if head[257:262] == b"ustar":
        return _unpack("a tar archive", "tar -xf")
    if head[4:8] == b"TFL3":
        return Content(kind=ContentKind.LITERT, name="a LiteRT (TensorFlow Lite) model")
    if not head.strip(b"\x00"):
        return Content(kind=ContentKind.OTHER, name="nothing but zero bytes", mend="copy it again")
    return _by_first_fields(head)


def _by_first_fields(head: bytes) -> Content:
    if len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER:
        return Content(kind=ContentKind.SAFETENSORS, name="a safetensors file")
    if head[0] == 0x80 and len(head) > 1 and 2 <= head[1] <= 5:
        return Content(kind=ContentKind.PICKLE, name="a pickle or an old PyTorch file")
    # A ModelProto begins with field 1, its ir_version, and goes on with one of the fields that models have.
    if len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 32 and head[2] in _ONNX_SECOND_FIELDS:
        return Content(kind=ContentKind.ONNX, name="an ONNX model")
    return Content(kind=ContentKind.TEXT, name="text") if _is_text(head[:HEAD_BYTES]) else _BINARY


_BINARY = Content(kind=ContentKind.UNKNOWN, name="another kind of file")


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may have been cut in two at the end of the sample.
        return len(head) == HEAD_BYTES and error.start > HEAD_BYTES - 4
    return b"\x00" not in head
