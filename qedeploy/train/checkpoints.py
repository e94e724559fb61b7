"""Where a training is kept while it runs: a kill at any moment costs minutes and changes no bit of the result."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.files import read_bytes, write_bytes
from qedeploy.words import listed

FORMAT = "qedeploy-training/1"
FILE = "training.checkpoint.pt"


@dataclass(slots=True, kw_only=True)
class Best:
    """The weights that did best on the held-out images, and the row of the log that says how well."""

    weights: Mapping[str, Tensor]
    top1: float
    epoch: float


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """Where a training is: `stage` and the `step` in it that is next, and all that the steps to come depend on.

    `set_steps` names quantizers whose step was set and not trained. `sums` add up since the last row of the log.
    """

    stage: int = 0
    step: int = 0
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    set_steps: tuple[str, ...] = ()
    optimizer: Mapping[str, Any] | None = None
    average: Mapping[str, Tensor] | None = None
    updates: int = 0
    best: Best | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Keeper:
    """Writes the standing of one training into its folder, at most every `every` seconds, and finds it again."""

    def __init__(self, folder: Path, settings: Mapping[str, object], every: float) -> None:
        """Keep in `folder`; `settings` is plain data that names this training: another one is not gone on with."""
        self.path = folder / FILE
        self._settings = dict(settings)
        self._every = every
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written >= self._every

    def save(self, standing: TrainingState) -> None:
        """Write `standing`, whole or not at all; raises UserError where the disk does not take it."""
        document = {
            "format": FORMAT,
            "settings": self._settings,
            "standing": {
                name: getattr(standing, name) for name in TrainingState.__dataclass_fields__ if name not in {"best"}
            },
            "best": None
            if standing.best is None
            else {"weights": standing.best.weights, "top1": standing.best.top1, "epoch": standing.best.epoch},
            "torch": torch.get_rng_state(),
        }
        stream = io.BytesIO()
        torch.save(document, stream)
        write_bytes(self.path, stream.getvalue())
        self._written = time.monotonic()

    def load(self) -> TrainingState | None:
        """Return what was kept, None where nothing was; raises UserError where it is damaged or of another training."""
        if not self.path.exists():
            return None
        try:
            document = torch.load(io.BytesIO(read_bytes(self.path)), map_location="cpu", weights_only=True)
            if document["format"] != FORMAT:
                raise UserError(f"{self.path}: expected {FORMAT}, found {document['format']}: choose another --out")
            self._require_same(document["settings"])
            standing = TrainingState(**document["standing"])
            standing.best = None if document["best"] is None else Best(**document["best"])
            torch.set_rng_state(document["torch"])
        except UserError:
            raise
        except Exception as error:  # What torch raises for a damaged file is not documented.
            raise UserError(f"{self.path}: damaged: remove it to begin anew, or choose another --out") from error
        return standing

    def remove(self) -> None:
        """Remove what was kept: the training is done."""
        self.path.unlink(missing_ok=True)

    def _require_same(self, kept: Mapping[str, object]) -> None:
        different = [
            f"{name} was {kept.get(name)!r}, now {value!r}"
            for name, value in self._settings.items()
            if kept.get(name) != value
        ]
        if different:
            raise UserError(
                f"{self.path}: is of a training with other settings: {listed(different)}; give the same ones to go on, "
                "--restart to begin anew, or another --out"
            )
