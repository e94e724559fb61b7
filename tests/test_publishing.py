"""Files that belong together get their names together, also where a kill comes between two of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qedeploy.errors import UserError
from qedeploy.files import read_text, working_in, write_text, writing
from qedeploy.publishing import NOTE_FILE, together

_KILLED = """import os, signal, sys
from pathlib import Path
from qedeploy.files import write_text
from qedeploy.publishing import together

folder, renames = Path(sys.argv[1]), int(sys.argv[2])
replace = Path.replace

def counted(self, target):
    global renames
    if renames == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    renames -= 1
    return replace(self, target)

Path.replace = counted
with together(folder) as files:
    for name in ("a", "b", "c"):
        write_text(folder / name, f"new {name}")
    files.aside |= {folder / name: folder / f"old-{name}" for name in ("a", "b")}
"""

_BEFORE = {"a": "earlier a", "b": "earlier b"}
_AFTER = {"a": "new a", "b": "new b", "c": "new c", "old-a": "earlier a", "old-b": "earlier b"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


# The note's own name is the first, those of the files the other five.
@pytest.mark.parametrize("renames", range(7))
def test_whoever_comes_after_a_kill_finds_all_or_nothing_of_it(tmp_path: Path, renames: int) -> None:
    for name, text in _BEFORE.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(renames)], check=False)
    assert done.returncode == (-signal.SIGKILL if renames < 6 else 0)
    with working_in(tmp_path):
        assert content(tmp_path) == (_BEFORE if renames == 0 else _AFTER)
    with writing(tmp_path / "a"):
        assert content(tmp_path) == (_BEFORE if renames == 0 else _AFTER)
    if renames:
        assert names(tmp_path) == sorted(_AFTER)


def test_a_block_that_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("earlier")

    def half_way() -> None:
        with together(tmp_path):
            write_text(tmp_path / "a", "new")
            write_text(tmp_path / "b", "new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert content(tmp_path) == {"a": "earlier"}
    assert names(tmp_path) == ["a"]


def test_what_the_block_wrote_is_what_the_block_reads(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("earlier")
    with together(tmp_path):
        write_text(tmp_path / "a", "first")
        write_text(tmp_path / "a", "second")
        assert read_text(tmp_path / "a") == "second"
        assert (tmp_path / "a").read_text() == "earlier"
    assert names(tmp_path) == ["a"]
    assert read_text(tmp_path / "a") == "second"


def test_blocks_within_a_block_end_with_it(tmp_path: Path) -> None:
    with together(tmp_path):
        with together(tmp_path):
            write_text(tmp_path / "a", "")
        assert not (tmp_path / "a").exists()
        write_text(tmp_path / "b", "")
    assert names(tmp_path) == ["a", "b"]


def test_files_elsewhere_get_their_names_at_once(tmp_path: Path) -> None:
    inside, other = tmp_path / "inside", tmp_path / "other"
    with together(tmp_path):
        write_text(tmp_path / "a", "")
        write_text(inside / "b", "there")
        assert (inside / "b").read_text() == "there"
        with together(other):
            write_text(other / "c", "")
            write_text(tmp_path / "d", "of the outer block")
            assert not (other / "c").exists()
        assert names(other) == ["c"]
        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "d").exists()
        assert read_text(tmp_path / "d") == "of the outer block"
    assert names(tmp_path) == ["a", "d", "inside", "other"]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[",
        "[" * 100_000,
        "{}",
        "[1]",
        "[{}]",
        json.dumps([{"written": "../secret", "name": "a"}]),
        json.dumps([{"written": "kept", "name": "/tmp/x/../y"}]),
        json.dumps([{"written": "kept", "name": ".."}]),
        json.dumps([{"written": ["kept"], "name": "a"}]),
    ],
)
def test_a_note_of_others_moves_nothing(tmp_path: Path, note: str) -> None:
    (tmp_path / "secret").write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept").write_text("")
    (folder / NOTE_FILE).write_text(note)
    with working_in(folder):
        pass
    assert names(folder) == ["kept"]
    assert (tmp_path / "secret").exists()


def test_a_folder_that_takes_no_names_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "inside").write_text("")

    def write() -> None:
        with together(tmp_path):
            write_text(tmp_path / "a", "")

    with pytest.raises(UserError, match=f"{tmp_path}: cannot be written to: Is a directory"):
        write()
