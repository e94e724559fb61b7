"""`qedeploy import` in a fresh folder: what LightNAS leaves goes in, a model that exports comes out."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import torch

from qedeploy.cli.import_ import import_
from qedeploy.errors import UserError
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.network.lightnas import from_blocks, to_text
from tests.cli.console import qedeploy
from tests.model.reference_network import ReferenceNetwork, randomise
from tests.model.test_lightnas_checkpoint import SMALL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the reference's search and training leave there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best_structure.txt").write_text(to_text(from_blocks(SMALL)))
    network = randomise(ReferenceNetwork(SMALL, 10), seed=5)
    torch.save({"epoch": 240, "state_dict": network.state_dict()}, tmp_path / "quant_238.pth.tar")
    return tmp_path


def test_an_imported_checkpoint_computes_the_reference_s_logits_and_exports(folder):
    arguments = ["best_structure.txt", "--checkpoint", "quant_238.pth.tar", "--out", "model.pth", "--resolution", 32]
    done = qedeploy("import", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "trained weights of quant_238.pth.tar" in done.stdout
    assert "21 of 21 activation quantizers are signed" in done.stdout
    assert "next: qedeploy export model.pth" in done.stdout
    checkpoint = load_checkpoint(folder / "model.pth")
    assert checkpoint.profile == "cpu-int8"
    assert checkpoint.recipe["imported"]["checkpoint"]["file"] == "quant_238.pth.tar"
    assert checkpoint.structure.resolution == 32
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    reference = randomise(ReferenceNetwork(SMALL, 10), seed=5)
    with torch.no_grad():
        assert torch.allclose(checkpoint.network(images), reference(images), rtol=1e-4, atol=1e-4)
    done = qedeploy("export", "model.pth", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "verified in onnxruntime" in done.stdout
    assert (folder / "model.onnx").exists()


def test_a_structure_alone_becomes_a_model_with_initialised_weights(folder, capsys):
    import_(Path("best_structure.txt"), classes=7)
    assert "initialised weights, seed 0" in capsys.readouterr().out
    assert load_checkpoint(folder / "best_structure.pth").structure.classifier.classes == 7


def test_json_is_the_same_structure(folder):
    (folder / "best.json").write_text(json.dumps({"space_arch": "CnnNet", "best_structures": [SMALL]}))
    import_(Path("best.json"))
    assert load_checkpoint(folder / "best.pth").structure == from_blocks(SMALL)


@pytest.mark.parametrize(
    ("structure", "options", "code", "reason"),
    [
        ("missing.txt", {}, 2, "missing.txt: cannot be read"),
        ("evil.txt", {}, 2, "only literals are read; nothing in it is executed"),
        ("best_structure.txt", {"checkpoint": "missing.pth.tar"}, 2, "missing.pth.tar: cannot be read"),
        (
            "best_structure.txt",
            {"checkpoint": "best_structure.txt"},
            2,
            "expected a PyTorch checkpoint (.pth, .pth.tar, .pt) or safetensors, found text",
        ),
        ("best_structure.txt", {"checkpoint": "objects.pth.tar"}, 2, "argparse.Namespace"),
        ("other.txt", {"checkpoint": "quant_238.pth.tar"}, 2, "does not fit the structure: missing block_list.2.conv1"),
        ("best_structure.txt", {"checkpoint": "quant_238.pth.tar", "classes": 5}, 2, "quant_238.pth.tar has 10"),
        ("best_structure.txt", {"out": "best_structure.txt"}, 2, "is a file to read"),
        ("best_structure.txt", {"profile": "cpu-int9"}, 2, "did you mean cpu-int8"),
        ("one-bit.txt", {}, 3, "profile cpu-int8 has no W1A4"),
        ("two.jsonl", {}, 2, "expected one structure, found 2"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(folder, structure, options, code, reason):
    (folder / "evil.txt").write_text("__import__('pathlib').Path('pwned').touch()")
    (folder / "other.txt").write_text(to_text(from_blocks([SMALL[0], SMALL[1], {**SMALL[4], "in": 16}])))
    one_bit = [SMALL[0], SMALL[1], {**SMALL[2], "nbitsW": [1, 1, 1]}, *SMALL[3:]]
    (folder / "one-bit.txt").write_text(repr(one_bit))
    (folder / "two.jsonl").write_text(f"{json.dumps({'structure': SMALL})}\n" * 2)
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=0.4)}, folder / "objects.pth.tar")
    before = sorted(path.name for path in folder.iterdir())
    paths = {key: Path(value) if key in {"checkpoint", "out"} else value for key, value in options.items()}
    with pytest.raises(UserError, match=re.escape(reason)) as caught:
        import_(Path(structure), **paths)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_console_names_the_file_and_leaves_with_2(folder):
    done = qedeploy("import", "missing.txt", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: missing.txt: cannot be read")
