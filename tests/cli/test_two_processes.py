"""Two processes in one folder: the second is refused at once, or both end with whole files that belong together."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from qedeploy.cli.main import app
from qedeploy.errors import UserError
from qedeploy.export.exporter import export_checkpoint
from qedeploy.folder_lock import LOCK_FILE
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint, save_checkpoint
from tests.cli.conftest import SMALL_RECIPE
from tests.cli.console import qedeploy, started
from tests.cli.test_run_command import digits
from tests.export.networks import small_structure
from tests.export.onnx_networks.networks import mobile_network, write

_HOLD = """import sys
from pathlib import Path
from qedeploy import folder_lock
with getattr(folder_lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""

SEARCH = ("search", "--profile", "cpu-int8", "--recipe", "./small.toml", "--out", "out")
TRAIN = ("train", "model.pth", "--data", "digits.npz", "--epochs", "1", "--float-epochs", "0", "--out", "out")
QUANTIZE = ("quantize", "network.onnx", "--data", "images.npy", "--shape", "image=1x3x32x48", "--duration", "1ms")
BRIEFLY = ("--duration", "50ms", "--warm-up", "0ms", "--no-twins", "--out", "out")
RUN = ("run", "--profile", "cpu-int8", "--recipe", "./small.toml", "--duration", "20ms", "--out", "out")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """A recipe, a checkpoint and its ONNX file, another network, and data for them."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "small.toml").write_text(SMALL_RECIPE)
    save_checkpoint(folder / "model.pth", build(small_structure(), seed=0), profile="cpu-int8", recipe={})
    export_checkpoint(folder / "model.pth")
    write(mobile_network(), folder)
    np.save(folder / "images.npy", np.random.default_rng(2).normal(size=(2, 3, 32, 48)).astype(np.float32))
    digits(folder / "digits.npz", small_structure().classifier.classes)
    return folder


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The inputs, in a folder that is the current one."""
    for file in inputs.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def held(how: str, path: str) -> Iterator[int]:
    """Let another process hold `path` in the block; yields its number."""
    command = [sys.executable, "-c", _HOLD, how, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("how", "path", "arguments"),
    [
        ("hold_folder", "out", SEARCH),
        ("hold_folder", "out", (*SEARCH, "--method", "evolution")),
        ("hold_folder", "out", TRAIN),
        ("hold_folder", "out", (*QUANTIZE, "--out", "out")),
        ("hold_folder", "out", ("quantize", "model.pth", "--data", "digits.npz", "--max-drop", "1", "--out", "out")),
        ("hold_folder", "out", RUN),
        ("hold_folder", "out", ("correlate", "--profile", "cpu-int8", "--recipe", "./small.toml", "--out", "out")),
        ("hold_folder", "out", ("models", "--bench", "--out", "out")),
        ("hold_folder", "out", ("export", "model.pth", "--out", "out/model.onnx")),
        ("hold_file", "out/model.onnx", ("export", "model.pth", "--out", "out/model.onnx")),
        ("hold_file", "out/model.onnx", SEARCH),
        ("hold_file", "out/bench.json", ("bench", "model.onnx", *BRIEFLY)),
        ("hold_file", "out/accuracy.json", ("evaluate", "model.onnx", "--data", "digits.npz", "--out", "out")),
        ("hold_file", "out/compare.json", ("compare", ".", "--out", "out")),
        ("hold_file", "out/t.small.measurements.jsonl",
         ("measure", "--profile", "cpu-int8", "--recipe", "./small.toml", "--out", "out/t.json")),
    ],
)  # fmt: skip
def test_a_command_leaves_alone_where_another_works(
    here: Path, how: str, path: str, arguments: tuple[str, ...]
) -> None:
    with held(how, path) as process:
        began = time.monotonic()
        with pytest.raises(UserError, match=f"out.*: process {process} .* works there: wait until that has ended"):
            app(arguments, standalone_mode=False)
        assert time.monotonic() - began < 10
        assert [file.name for file in (here / "out").iterdir()] == [LOCK_FILE]


def test_files_of_two_names_are_exported_beside_each_other(here: Path) -> None:
    with held("hold_file", "out/a.onnx"):
        app(("export", "model.pth", "--out", "out/b.onnx", "-q"), standalone_mode=False)
    assert (here / "out" / "b.export.json").exists()


def test_a_refusal_is_one_line_and_a_killed_search_blocks_nobody(here: Path) -> None:
    arguments = (*SEARCH, "--method", "evolution", "--evaluations", "100000000", "--no-model")
    with started(*arguments, cwd=here) as first:
        while not (here / "out" / LOCK_FILE).exists():
            assert first.poll() is None
            time.sleep(0.02)
        second = qedeploy(*SEARCH, "--no-model", "-q", cwd=here)
        assert second.returncode == 2
        assert second.stdout == ""
        assert second.stderr.startswith(f"error: out: process {first.pid} (qedeploy search, since ")
        assert second.stderr.count("\n") == 1
        first.kill()
        first.wait()
    assert qedeploy(*SEARCH, "--no-model", "-q", cwd=here).returncode == 0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_matching(folder: Path) -> None:
    """Hold every file of a folder to what the others say of it."""
    found = {path.name: path for path in folder.iterdir()}
    documents = {name: json.loads(path.read_text()) for name, path in found.items() if path.suffix == ".json"}
    if "search.json" in documents and "model.pth" in found:
        assert documents["search.json"]["structure"] == documents["structure.json"]
        assert qedeploy("verify", folder).returncode == 0
        load_checkpoint(found["model.pth"])
    if "model.export.json" in documents:
        assert documents["model.export.json"]["model"]["sha256"] == digest(found["model.onnx"])
    if "bench.json" in documents:
        assert found["report.html"].read_text().rstrip().endswith("</html>")
        assert len([name for name in found if name.startswith("bench")]) == len(
            [name for name in found if name.startswith("report")]
        )
    for name in ("train.json", "assignment.json"):
        if name in documents:
            said = documents[name].get("file") or documents[name]["result"]["model"]
            assert said["sha256"] == digest(found[said.get("name") or said["file"]])
    assert not [name for name in found if name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        SEARCH,
        ("export", "model.pth", "--out", "out/model.onnx"),
        ("bench", "model.onnx", *BRIEFLY),
        TRAIN,
        (*QUANTIZE, "--keep", ".", "--out", "out"),
        RUN,
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_is_started_twice_leaves_files_that_match(here: Path, arguments: tuple[str, ...]) -> None:
    with started(*arguments, cwd=here) as first, started(*arguments, cwd=here) as second:
        said = [process.communicate()[1] for process in (first, second)]
        codes = [first.returncode, second.returncode]
    assert 0 in codes, said
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or (code == 2 and "works there" in text and text.count("\n") == 1), text
    require_matching(here / "out")
