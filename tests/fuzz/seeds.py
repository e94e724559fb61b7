"""One good file of every format that the command line reads, made by the project itself, and the commands for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from qedeploy import api
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.lightnas import from_blocks, to_text
from qedeploy.network.structure_file import to_document
from qedeploy.profiles.loader import FOLDER as PROFILES
from tests.cli.conftest import SMALL_RECIPE
from tests.export.networks import small_structure
from tests.model.reference_network import ReferenceNetwork, randomise
from tests.model.test_lightnas_checkpoint import PLAIN
from tests.runtimes.tensorrt.test_recordings import record_run

CSV = (
    "kind,in_channels,out_channels,kernel,stride,size,weight_bits,activation_bits,us\n"
    "pointwise,16,32,1,1,32,8,8,12.5\npointwise,16,64,1,1,32,8,8,20\ndepthwise,32,32,3,1,32,8,8,9\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file to damage and the command that reads it: `{file}` and `{out}` are put in; `beside` is copied with it."""

    file: str
    arguments: tuple[str, ...]
    beside: tuple[str, ...] = ()


TARGETS = (
    Target(file="structure.json", arguments=("score", "{file}", "--stage-ratios", "1,6")),
    Target(file="text.txt", arguments=("score", "{file}", "--json")),
    Target(file="many.jsonl", arguments=("score", "{file}", "--lightnas")),
    Target(file="text.txt", arguments=("import", "{file}", "--resolution", "16", "--out", "{out}/m.pth")),
    Target(
        file="weights.pth.tar",
        arguments=("import", "plain.txt", "--resolution", "16", "--checkpoint", "{file}", "--out", "{out}/m.pth"),
        beside=("plain.txt",),
    ),
    Target(
        file="weights.safetensors",
        arguments=("import", "plain.txt", "--resolution", "16", "--checkpoint", "{file}", "--out", "{out}/m.pth"),
        beside=("plain.txt",),
    ),
    Target(file="model.pth", arguments=("export", "{file}", "--out", "{out}/m.onnx", "--engine", "never")),
    Target(
        file="images/a.png",
        arguments=("export", "model.pth", "--calibrate", "images", "--out", "{out}/m.onnx", "--engine", "never"),
        beside=("model.pth",),
    ),
    Target(
        file="model.onnx",
        arguments=("bench", "{file}", "--out", "{out}", "--duration", "1ms", "--warm-up", "0ms", "--no-twins"),
    ),
    Target(file="profile.toml", arguments=("profiles", "show", "./{file}")),
    Target(
        file="recipe.toml",
        arguments=("search", "--profile", "cpu-int8", "--recipe", "./{file}", "--out", "{out}", "--no-model", "-q"),
    ),
    Target(
        file="table.csv",
        arguments=(
            "search",
            "--profile",
            "cpu-int8",
            "--recipe",
            "./recipe.toml",
            "--budget",
            "latency=4ms",
            "--latency-table",
            "{file}",
            "--out",
            "{out}",
            "--no-model",
            "-q",
        ),
        beside=("recipe.toml",),
    ),
    Target(file="found/search.json", arguments=("verify", "found"), beside=("found",)),
    *(
        Target(file=f"run/{name}.json", arguments=("bench", "--from-trtexec", "run", "--out", "{out}"), beside=("run",))
        for name in ("times", "profile", "layers")
    ),
    Target(file="run/model.onnx", arguments=("bench", "--from-trtexec", "run", "--out", "{out}"), beside=("run",)),
)


def write_seeds(folder: Path) -> Path:
    """Write every file that the targets name; returns `folder`."""
    structure = small_structure()
    (folder / "structure.json").write_text(json.dumps(to_document(structure), indent=1))
    (folder / "text.txt").write_text(to_text(from_blocks(PLAIN)))
    (folder / "plain.txt").write_text(to_text(from_blocks(PLAIN)))
    (folder / "many.jsonl").write_text(f"{json.dumps(to_document(structure))}\n" * 3)
    state = randomise(ReferenceNetwork(PLAIN, 10), seed=7, dtype=torch.float32).state_dict()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "weights.pth.tar"
    )
    safetensors.torch.save_file(dict(state), folder / "weights.safetensors")
    save_checkpoint(folder / "model.pth", build(structure, seed=0), profile="cpu-int8", recipe={})
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "a.png")
    api.export(folder / "model.pth", folder / "model.onnx")
    (folder / "profile.toml").write_text((PROFILES / "t4-int8.toml").read_text())
    (folder / "recipe.toml").write_text(SMALL_RECIPE)
    (folder / "table.csv").write_text(CSV)
    api.search("cpu-int8", str(folder / "recipe.toml"), folder=folder / "found", model=False)
    record_run(folder / "run")
    return folder
