"""Files of arrays from elsewhere: read, or refused in a line whatever is wrong with them."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from qedeploy.array_files import array_of, opened_arrays
from qedeploy.errors import UserError


def test_arrays_are_read_from_both_kinds_of_file(tmp_path):
    one = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", one)
    np.savez(tmp_path / "a.npz", x=one)
    for file, name in (("a.npy", ""), ("a.npz", "x")):
        with opened_arrays(tmp_path / file) as found:
            assert list(found) == [name]
            np.testing.assert_array_equal(array_of(found, name), one)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{'descr': (", b"PK\x03\x04" + bytes(40), b"text"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="not a readable array file"), opened_arrays(tmp_path / "a.npz") as found:
        list(found)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x", "text")
    with pytest.raises(UserError, match="x is no array"), opened_arrays(tmp_path / "a.npz") as found:
        array_of(found, "x")


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", "small")
    content = bytearray(path.read_bytes())
    # The unpacked size in the archive's directory: 4 GB, for each of as many entries as it takes.
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    end = content.index(b"PK\x05\x06")
    entry, count = bytes(content[directory:end]), 4000
    tail = bytearray(content[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    path.write_bytes(bytes(content[:directory]) + entry * count + bytes(tail))
    with pytest.raises(UserError, match="of free memory"), opened_arrays(path):
        pass


def test_the_callers_own_errors_pass(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(1))
    with pytest.raises(UserError, match="mine"), opened_arrays(tmp_path / "a.npy"):
        raise UserError("mine")
