"""One good file of every format that the command line reads, made by the project itself, and the commands for them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from qedeploy import api
from qedeploy.latency.table import write_table
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.network.lightnas import from_blocks, to_text
from qedeploy.network.structure_file import to_document
from qedeploy.profiles.loader import FOLDER as PROFILES
from qedeploy.profiles.loader import load_profile
from qedeploy.search.evolution.evolution import Evolution, EvolutionSettings
from qedeploy.search.evolution.state_file import StateFile
from qedeploy.search.methods import EVOLUTION
from qedeploy.search.request import make_request
from qedeploy.search.result import settings_document
from qedeploy.search.run import CHECKPOINT_FILE
from qedeploy.search.space.recipe_loader import load_recipe
from tests.cli.conftest import SMALL_RECIPE
from tests.export.networks import small_structure
from tests.export.onnx_networks.networks import Maker, write
from tests.model.reference_network import ReferenceNetwork, randomise
from tests.model.test_lightnas_checkpoint import PLAIN
from tests.runtimes.tensorrt.test_recordings import plan_with_record, record_run
from tests.search.made_up_latency import plausible_table
from tests.train.test_data import folders, shard

CSV = (
    "kind,in_channels,out_channels,kernel,stride,size,weight_bits,activation_bits,us\n"
    "pointwise,16,32,1,1,32,8,8,12.5\npointwise,16,64,1,1,32,8,8,20\ndepthwise,32,32,3,1,32,8,8,9\n"
)


BRIEFLY = ("--duration", "1ms", "--out", "{out}", "-q")


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
    Target(
        file="table.json",
        arguments=(
            *("search", "--profile", "cpu-int8", "--recipe", "./recipe.toml", "--budget", "latency=4ms"),
            *("--latency-table", "{file}", "--out", "{out}", "--no-model", "-q"),
        ),
        beside=("recipe.toml",),
    ),
    Target(
        file="evolved/search.checkpoint.npz",
        arguments=(
            *("search", "--profile", "cpu-int8", "--recipe", "./recipe.toml", "--method", "evolution"),
            *("--evaluations", "60", "--population", "16", "--out", "evolved", "--no-model", "-q"),
        ),
        beside=("recipe.toml",),
    ),
    Target(file="float.onnx", arguments=("quantize", "{file}", "--data", "x.npy", *BRIEFLY), beside=("x.npy",)),
    Target(file="x.npy", arguments=("quantize", "float.onnx", "--data", "{file}", *BRIEFLY), beside=("float.onnx",)),
    Target(file="classes.npz", arguments=("evaluate", "model.onnx", "--data", "{file}", "-q"), beside=("model.onnx",)),
    Target(file="found/search.json", arguments=("verify", "found"), beside=("found",)),
    *(
        Target(file=f"run/{name}.json", arguments=("bench", "--from-trtexec", "run", "--out", "{out}"), beside=("run",))
        for name in ("times", "profile", "layers")
    ),
    Target(file="run/model.onnx", arguments=("bench", "--from-trtexec", "run", "--out", "{out}"), beside=("run",)),
    Target(
        file="built/engine.json", arguments=("bench", "--from-trtexec", "built", "--out", "{out}"), beside=("built",)
    ),
    Target(file="engine.plan", arguments=("bench", "{file}", *BRIEFLY), beside=("engine.json",)),
    Target(file="engine.json", arguments=("bench", "engine.plan", *BRIEFLY), beside=("engine.plan",)),
    Target(file="mcu/model.tflite", arguments=("bench", "{file}", *BRIEFLY), beside=("mcu",)),
    Target(
        file="mcu/model.tflite.json",
        arguments=("bench", "mcu/model.tflite", *BRIEFLY),
        beside=("mcu",),
    ),
    Target(file="shard.tar", arguments=("evaluate", "model.onnx", "--data", "{file}", "-q"), beside=("model.onnx",)),
    Target(
        file="classes/bee/0.png",
        arguments=("evaluate", "model.onnx", "--data", "classes", "-q"),
        beside=("model.onnx", "classes"),
    ),
)


def write_checkpoint(folder: Path) -> None:
    """Write what an evolution that was killed leaves, of the search that the targets go on with."""
    request = make_request("cpu-int8", str(folder / "recipe.toml"))
    settings = EvolutionSettings(seed=0, evaluations=60, population=16)
    document = settings_document(request, EVOLUTION, dataclasses.asdict(settings))
    (folder / "evolved").mkdir()
    StateFile(path=folder / "evolved" / CHECKPOINT_FILE, settings=document).save(
        Evolution(request.space, request.budgets, settings).start([])
    )


def write_microcontroller_model(folder: Path) -> None:
    """Write a .tflite file with its record, and no more, into `folder`."""
    checkpoint = folder / "model.pth"
    save_checkpoint(checkpoint, build(small_structure(), seed=0), profile="stm32f746", recipe={})
    api.build_artefact(api.export(checkpoint, folder / "model.onnx"), "required")
    checkpoint.unlink()


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
    write_table(
        folder / "table.json", plausible_table(load_profile("cpu-int8"), load_recipe(str(folder / "recipe.toml")))
    )
    write_checkpoint(folder)
    make = Maker()
    make.conv(make.node("Relu", [make.conv("x", "first", (8, 3, 3, 3))], "relu"), "y", (4, 8, 1, 1))
    write(make.model({"x": (1, 3, 8, 8)}, ["y"]), folder, "float.onnx")
    chance = np.random.default_rng(0)
    np.save(folder / "x.npy", chance.random((2, 3, 8, 8), np.float32))
    pictures = chance.integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.savez(folder / "classes.npz", images=pictures, labels=np.array([0, 1, 2, 3]))
    shard(folder / "shard.tar", range(4), lambda number: str(number % 3).encode())
    folders(folder / "classes", each=2)
    plan_with_record(folder)
    plan_with_record(record_run(folder / "built"))
    write_microcontroller_model(folder / "mcu")
    return folder
