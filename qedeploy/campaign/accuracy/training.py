"""One training of an accuracy study: a network of a structure, trained on labelled pictures and counted on others."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qedeploy.files import read_text
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import to_document

if TYPE_CHECKING:
    from qedeploy.train.recipe import TrainingRecipe

SAVED_EVERY = 60.0
"""Seconds after which a training saves itself: what a killed study loses at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A network to train: its structure, the seed of weights and of the order of pictures, and how it is trained.

    `profile` is the name or path of the device's profile, `folder` where the trained network is kept (None: nowhere).
    """

    structure: Structure
    seed: int
    profile: str
    data: Path
    recipe: TrainingRecipe
    threads: int
    folder: Path | None

    @property
    def key(self) -> str:
        """A name of the structure."""
        return structure_key(self.structure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to: the share of `images` test pictures that the network gets right.

    `curve` has the share of held-out pictures behind each epoch with quantizers, and how many epochs that were.
    """

    key: str
    seed: int
    top1: float
    images: int
    curve: tuple[tuple[float, float], ...]
    seconds: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Trained:
        """Return what `row` says, a dict of the fields; raises KeyError or TypeError where it lacks some."""
        curve = tuple((float(epoch), float(share)) for epoch, share in row["curve"])
        return cls(
            key=str(row["key"]),
            seed=int(row["seed"]),
            top1=float(row["top1"]),
            images=int(row["images"]),
            curve=curve,
            seconds=float(row["seconds"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A training that came to nothing, such as one whose loss is no number any more, and why."""

    key: str
    seed: int
    failure: str


def outcome_of(row: Mapping[str, Any]) -> Trained | Failed:
    """Return the outcome of a journal's `row`; raises KeyError, TypeError or ValueError where it is none."""
    if "failure" in row:
        return Failed(key=str(row["key"]), seed=int(row["seed"]), failure=str(row["failure"]))
    return Trained.of(row)


def structure_key(structure: Structure) -> str:
    """Return a name of a structure by which it is told from others."""
    return hashlib.sha256(json.dumps(to_document(structure), sort_keys=True).encode()).hexdigest()[:12]


def train_network(job: Training) -> Trained | Failed:
    """Train a network; the one function that workers execute. One that was killed in its folder goes on.

    Raises UserError where the pictures cannot be read.
    """
    import torch

    from qedeploy.errors import RequestError
    from qedeploy.model.build import build
    from qedeploy.model.checkpoint import save_checkpoint
    from qedeploy.profiles.loader import load_profile
    from qedeploy.train.log import DOCUMENT
    from qedeploy.train.training import TrainOptions, train

    threads = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        with ExitStack() as stack:
            folder = job.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qedeploy-train-")))
            profile = load_profile(job.profile)
            network = build(job.structure, unsigned_activation_bits=profile.unsigned_activation_bits, seed=job.seed)
            start = save_checkpoint(folder / "start.pth", network, profile=job.profile, recipe={})
            options = TrainOptions(recipe=job.recipe, seed=job.seed, workers=0, checkpoint_every=SAVED_EVERY)
            try:
                result = train(start, job.data, options, folder)
            except RequestError as error:
                return Failed(key=job.key, seed=job.seed, failure=str(error))
            rows = json.loads(read_text(folder / DOCUMENT))["epochs"]
    finally:
        torch.set_num_threads(threads)
    assert result.test_top1 is not None, "whoever asked the question has looked for test pictures"
    return Trained(
        key=job.key,
        seed=job.seed,
        top1=result.test_top1,
        images=result.test_images,
        curve=tuple((row["epoch"], row["held_out_top1"]) for row in rows if row["stage"] == "quantized"),
        seconds=result.seconds,
    )
