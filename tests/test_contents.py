"""What a file is, by its first bytes, against the programs that write such files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile

import numpy as np
import onnx
import pytest
import safetensors.numpy
from PIL import Image

from qedeploy.array_files import opened_arrays
from qedeploy.contents import ContentKind, sniff
from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.file import read_model as read_network
from qedeploy.files import read_bytes, read_head, read_text, require_file
from qedeploy.qdq.metadata import read_model
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.runners import open_runner


def written(write) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def tar(stream) -> None:
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))


MODEL = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []), producer_name="pytorch", ir_version=8)

FILES = {
    "an empty file": b"",
    "a gzip archive": gzip.compress(b"x", mtime=0),
    "a bzip2 archive": bz2.compress(b"x"),
    "an xz archive": lzma.compress(b"x"),
    "a tar archive": written(tar),
    "a zip archive": written(lambda stream: zipfile.ZipFile(stream, "w").writestr("a", b"b")),
    "an empty zip archive": written(lambda stream: zipfile.ZipFile(stream, "w").close()),
    "a NumPy array": written(lambda stream: np.save(stream, np.zeros(3))),
    "a PNG image": written(lambda stream: Image.new("L", (4, 4)).save(stream, "PNG")),
    "a JPEG image": written(lambda stream: Image.new("L", (4, 4)).save(stream, "JPEG")),
    "an ONNX model": MODEL.SerializeToString(),
    "a safetensors file": safetensors.numpy.save({"a": np.zeros(3, np.float32)}),
    "a LiteRT (TensorFlow Lite) model": b"\x1c\0\0\0TFL3" + bytes(40),
    "a TensorRT engine": b"ftrt\0\0\0\0" + bytes(40),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 12\n",
    "an HTML document": b"\n<!DOCTYPE HTML PUBLIC><html></html>",
    "an XML document": b"<?xml version='1.0'?><Error/>",
    "text in UTF-16": "layer,us".encode("utf-16"),
    "nothing but zero bytes": bytes(4096),
    "text": b"layer,us\n" + "ä".encode() * 600,
    "another kind of file": bytes(range(200, 256)),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_told_by_their_first_bytes(name):
    assert sniff(FILES[name][:1024]).name.startswith(name)


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


# Bytes that are UTF-8 by chance are for whoever parses them to refuse.
NO_TEXT = [
    name
    for name, content in FILES.items()
    if not is_utf8(content) or sniff(content).kind in {ContentKind.POINTER, ContentKind.PAGE}
]


@pytest.mark.parametrize("name", NO_TEXT)
def test_where_text_is_expected_the_message_says_what_lies_there(name, tmp_path):
    (tmp_path / "structure.txt").write_bytes(FILES[name])
    with pytest.raises(UserError, match=r"structure\.txt: ") as caught:
        read_text(tmp_path / "structure.txt")
    assert sniff(FILES[name]).kind is ContentKind.UNKNOWN or name in str(caught.value)


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_text(tmp_path / "a") == "a = 1\n"


def test_a_limit_is_in_the_message(tmp_path):
    (tmp_path / "a").write_bytes(bytes(101))
    assert len(read_bytes(tmp_path / "a", 101)) == 101
    with pytest.raises(UserError, match="expected at most 100 bytes, found more"):
        read_bytes(tmp_path / "a", 100)
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(10 << 30)
    for read in (read_text, read_bytes):
        with pytest.raises(UserError, match=r"expected at most .* bytes"):
            read(tmp_path / "sparse")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/random"])
def test_devices_are_no_files(path):
    from pathlib import Path

    for read in (read_bytes, read_text, read_head, require_file):
        with pytest.raises(UserError, match="is a device, a pipe or a socket"):
            read(Path(path))


def test_paths_that_lead_nowhere(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, reason in (
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(UserError, match=reason):
            read_bytes(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_bytes(tmp_path / "a\0b")


@pytest.mark.parametrize("head", [b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>", b"\x1f\x8b\x08"])
@pytest.mark.parametrize("suffix", ["onnx", "tflite", "npz", "npy"])
def test_whatever_a_file_is_called_its_content_is_named(tmp_path, suffix, head):
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(head)
    said = re.escape(f", found {sniff(head)}")
    if suffix in {"npz", "npy"}:
        with pytest.raises(UserError, match=said), opened_arrays(path):
            pass
        return
    with pytest.raises(UserError, match=said), open_runner(path, RunnerOptions()):
        pass
    if suffix == "onnx":
        for read in (read_network, read_model):
            with pytest.raises(UserError, match=said):
                read(path)
