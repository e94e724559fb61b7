"""Files are written whole or not at all, and what cannot be read or written is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.files import (
    json_text,
    read_bytes,
    read_text,
    real_path,
    replacing,
    sha256,
    slug,
    write_bytes,
    write_json,
    write_text,
)


def test_folders_are_made_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a" / "b.txt", "für\n")
    assert path.read_bytes() == "für\n".encode()
    assert read_text(path) == "für\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_written_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert write_text(tmp_path / "a", "").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")

    def half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_or_read_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"a\.txt: cannot be written: "):
        write_text(tmp_path / "file" / "a.txt", "")
    with pytest.raises(UserError, match="none: cannot be read: No such file"):
        read_text(tmp_path / "none")
    write_bytes(tmp_path / "bytes", b"ab\xff")
    with pytest.raises(UserError, match=r"bytes: not UTF-8 text \(byte 2\)"):
        read_text(tmp_path / "bytes")


def test_the_digest_is_that_of_the_standard(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(write_bytes(tmp_path / "abc", b"abc")) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=9,
    )
)
def test_json_says_what_it_was_given(document: object) -> None:
    text = json_text(document)
    assert text.endswith("\n")
    assert json.loads(text) == document


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": number})
    assert not (tmp_path / "a.json").exists()


@given(st.text())
def test_slugs_are_safe_names(text: str) -> None:
    found = slug(text)
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    assert slug(found) == found


def test_a_slug_is_readable() -> None:
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz") == "intel-r-xeon-r-cpu-2.20ghz"


def test_links_in_a_circle_lead_somewhere(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert real_path(tmp_path / "a").parent == tmp_path.resolve()
    with pytest.raises(UserError, match=r"a: .*links"):
        read_bytes(tmp_path / "a")
