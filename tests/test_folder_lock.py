"""Folders and files are held by one process at a time, and a process that was killed holds nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qedeploy.errors import UserError
from qedeploy.folder_lock import LOCK_FILE, hold_file, hold_folder, in_turn, until_the_end

_HOLD = """import sys
from pathlib import Path
from qedeploy import folder_lock
with getattr(folder_lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""

_ADD = """import sys, time
from pathlib import Path
from qedeploy.folder_lock import in_turn
path = Path(sys.argv[1])
for _ in range(20):
    with in_turn(path):
        count = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(count + 1))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def another(how: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold `path` in the block, at most."""
    command = [sys.executable, "-c", _HOLD, how, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_nobody_else_works_in_a_held_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with another("hold_folder", folder) as process:
        said = rf"out: process {process.pid} \(.+, since \d\d:\d\d:\d\d\) works there: wait .*--out"
        with pytest.raises(UserError, match=said), hold_folder(folder):
            pass
        with (
            pytest.raises(UserError, match=rf"out/model\.onnx: process {process.pid} "),
            hold_file(folder / "model.onnx"),
        ):
            pass
        process.communicate("")
        with hold_folder(folder):
            assert names(folder) == [LOCK_FILE]
    assert names(tmp_path) == []


def test_files_of_other_names_are_written_at_the_same_time(tmp_path: Path) -> None:
    with another("hold_file", tmp_path / "a.onnx") as process:
        with hold_file(tmp_path / "b.onnx"):
            pass
        for refused in (hold_file(tmp_path / "a.onnx"), hold_folder(tmp_path)):
            with pytest.raises(UserError, match=f"process {process.pid} "), refused:
                pass
        assert (tmp_path / LOCK_FILE).exists()
        process.communicate("")
    assert names(tmp_path) == []


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with another("hold_folder", tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK_FILE).exists()
        with hold_folder(tmp_path):
            pass
    assert names(tmp_path) == []


def test_a_process_holds_what_it_holds_already_and_as_long_as_it_needs(tmp_path: Path) -> None:
    with hold_file(tmp_path / "a"):
        with hold_folder(tmp_path), hold_folder(tmp_path):
            pass
        # Back to holding the file, beside others.
        with another("hold_file", tmp_path / "b"):
            pass
        with pytest.raises(AssertionError), another("hold_file", tmp_path / "a"):
            pass
    with another("hold_file", tmp_path / "a"):
        pass


def test_steps_of_a_command_hold_a_folder_until_its_end(tmp_path: Path) -> None:
    with until_the_end():
        with hold_folder(tmp_path):
            pass
        with pytest.raises(AssertionError), another("hold_folder", tmp_path):
            pass
    with another("hold_folder", tmp_path):
        pass


def test_changes_of_a_file_wait_for_each_other(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", _ADD, str(counter)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert counter.read_text() == "60"
    assert names(tmp_path) == ["counter"]


def test_threads_are_one_user(tmp_path: Path) -> None:
    found: list[str] = []

    def change() -> None:
        with in_turn(tmp_path / "file"):
            found.append("changed")

    with hold_folder(tmp_path):
        thread = threading.Thread(target=change)
        thread.start()
        thread.join()
    assert found == ["changed"]


def test_what_is_no_folder_or_not_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="file: cannot be written to: it is a file, or lies below one"),
        hold_folder(tmp_path / "file"),
    ):
        pass
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / LOCK_FILE).symlink_to(tmp_path / "file")
    with pytest.raises(UserError, match=r"linked: cannot be written to: .*links"), hold_folder(tmp_path / "linked"):
        pass


def test_folders_that_stay_empty_are_removed_and_no_others(tmp_path: Path) -> None:
    with hold_folder(tmp_path / "a" / "b"):
        pass
    assert names(tmp_path) == []
    (tmp_path / "a").mkdir()
    with hold_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").write_text("")
    with hold_folder(tmp_path / "a"):
        pass
    assert names(tmp_path / "a" / "b") == ["kept"]
