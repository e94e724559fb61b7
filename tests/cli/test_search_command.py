"""`qedeploy search` through the real console script: what it writes, what it refuses, and what survives a kill."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest

from tests.cli.console import press_ctrl_c, qedeploy, started

SEARCH = (
    "search",
    "--profile",
    "any-bits",
    "--recipe",
    "mixed-7d0g",
    "--no-model",
    "--seed",
    "4",
    "--method",
    "evolution",
)
EVOLVE = ("--method", "evolution", "--evaluations")
LONG = (*SEARCH, "--evaluations", "1500000", "--out", "out")
CHECKPOINT = "out/search.checkpoint.npz"
FILES = ("structure.json", "search.json")


def written(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def wait_for_progress(process, checkpoint):
    """Return once the checkpoint of a long search, replaced whole each time, holds more than the start."""
    until = time.monotonic() + 60
    saved = set()
    while len(saved) < 2 and process.poll() is None and time.monotonic() < until:
        with suppress(FileNotFoundError):
            saved.add(checkpoint.stat().st_mtime_ns)
        time.sleep(0.01)
    assert len(saved) >= 2, "the search ended before it could be interrupted"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert qedeploy(*LONG, "--workers", "2", cwd=folder).returncode == 0
    return written(folder / "out")


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_result(tmp_path, uninterrupted):
    with started(*LONG, cwd=tmp_path) as process:
        wait_for_progress(process, tmp_path / CHECKPOINT)
        process.kill()
        process.communicate()
    assert (tmp_path / CHECKPOINT).exists()
    assert not (tmp_path / "out" / "search.json").exists()
    assert qedeploy(*LONG, cwd=tmp_path).returncode == 0
    assert written(tmp_path / "out") == uninterrupted
    assert {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".part"} == set(FILES)


@pytest.mark.slow
def test_ctrl_c_keeps_the_search_and_says_how_to_go_on(tmp_path, uninterrupted):
    with started(*LONG, cwd=tmp_path) as process:
        wait_for_progress(process, tmp_path / CHECKPOINT)
        assert "the same command goes on from there" in press_ctrl_c(process)
    other = qedeploy(*LONG, "--population", "99", cwd=tmp_path)
    assert other.returncode == 2
    assert "method.population 512 instead of 99" in other.stderr
    assert qedeploy(*LONG, cwd=tmp_path).returncode == 0
    assert written(tmp_path / "out") == uninterrupted
    assert not (tmp_path / CHECKPOINT).exists()


def test_default_folder_model_and_summary(tmp_path):
    done = qedeploy("search", "--profile", "cpu-int8", "--budget", "size=1.5MB", *EVOLVE, "3000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {*FILES, "model.pth"}
    document = json.loads((folder / "search.json").read_text())
    assert document["size_bytes"] <= 1.5e6
    assert document["evaluations"] == 3000
    assert f"qedeploy export {folder.relative_to(tmp_path)}/model.pth" in done.stdout
    assert "quantization part is a constant" in " ".join(done.stdout.split())
    from qedeploy.model.checkpoint import load_checkpoint
    from qedeploy.network.structure_file import from_document

    checkpoint = load_checkpoint(folder / "model.pth")
    assert checkpoint.structure == from_document(document["structure"], "search.json")
    assert checkpoint.profile == "cpu-int8"


def test_quiet_prints_nothing(tmp_path):
    done = qedeploy(*SEARCH, "--evaluations", "2000", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--profile", "cpu-int9"), 2, "did you mean cpu-int8?"),
        (("--profile", "cpu-int8", "--recipe", "mixed-7dog"), 2, "did you mean mixed-7d0g?"),
        (("--profile", "cpu-int8", "--budget", "bitop=7G"), 2, "did you mean bitops?"),
        (("--profile", "cpu-int8", "--budget", "size=2.2mb"), 2, "did you mean MB?"),
        (("--profile", "cpu-int8", "--budget", "size"), 2, "expected KIND=LIMIT"),
        (("--profile", "cpu-int8", "--out", "file"), 2, "expected a folder, found a file"),
        (("--profile", "cpu-int8", "--out", "file/below"), 2, "cannot be written"),
        (("--profile", "cpu-int8", "--out", "/proc/none"), 2, "cannot be written"),
        (("--profile", "cpu-int8", "--budget", "flops=1e4"), 3, "flops=10K cannot be met"),
        (("--profile", "cpu-int8", "--budget", "layers=16"), 3, "the smallest structure of the space has 17"),
        (("--profile", "stm32f746", "--budget", "size=8MB"), 3, "lower it, or leave it out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, arguments, code, message):
    (tmp_path / "file").write_text("")
    for method in ((*EVOLVE, "2000"), ("--method", "exact")):
        done = qedeploy("search", *arguments, *method, "--no-model", cwd=tmp_path)
        assert done.returncode == code
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]
