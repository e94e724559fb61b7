"""Any artefact as something that answers: a checkpoint by PyTorch, an exported file by the runtime that is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.files import sha256
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.network import QuantizedNetwork, quantizers
from qedeploy.runtimes.registry import runtime_of
from qedeploy.runtimes.runner import InputTensor, Runner, RunnerOptions
from qedeploy.runtimes.runners import open_runner
from qedeploy.words import listed

_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluatedModel:
    """A model that answers: `answer` takes images (count, channels, size, size), normalised, and gives logits.

    `images` says how it was trained to see pictures, None where the file does not say. `batch` is what it takes at a
    time.
    """

    path: Path
    sha256: str
    runtime: str
    channels: int
    size: int
    outputs: int
    batch: int
    images: ImageSettings | None
    answer: Callable[[Tensor], Tensor]


@contextmanager
def opened(path: Path, *, threads: int = 1) -> Iterator[EvaluatedModel]:
    """Yield the model at `path`; raises UserError, RequestError or MissingRuntimeError where it cannot answer."""
    if path.suffix.lower() in {".pth", ".pt"}:
        yield _checkpoint(path)
        return
    with open_runner(path, RunnerOptions(threads=threads)) as runner:
        yield _running(path, runner)


def _checkpoint(path: Path) -> EvaluatedModel:
    checkpoint = load_checkpoint(path)
    unset = [name for name, quantizer in quantizers(checkpoint.network) if not bool(quantizer.initialized)]
    if unset:
        raise UserError(
            f"{path}: steps that were never set, {listed(unset)}: train it first (qedeploy train {path} --data DIR), "
            "with --epochs 0 to only calibrate"
        )
    return network_artefact(path, checkpoint.network, checkpoint.images)


def network_artefact(path: Path, network: QuantizedNetwork, images: ImageSettings | None) -> EvaluatedModel:
    """Return the artefact of a network in evaluation mode that came from the checkpoint at `path`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    computing = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    structure = network.structure

    @torch.no_grad()
    def answer(pictures: Tensor) -> Tensor:
        logits: Tensor = computing(pictures.to(device))
        return logits.cpu()

    return EvaluatedModel(
        path=path,
        sha256=sha256(path),
        runtime=f"PyTorch {torch.__version__} on {device.type.upper()}",
        channels=structure.input_channels,
        size=structure.resolution,
        outputs=structure.classifier.classes,
        batch=100,
        images=images,
        answer=answer,
    )


def _running(path: Path, runner: Runner) -> EvaluatedModel:
    fed = runner.description.inputs
    if len(fed) != 1 or len(fed[0].shape) != 4 or fed[0].shape[2] != fed[0].shape[3]:
        shown = listed(map(str, fed))
        raise UserError(f"{path}: expected one input of square images, (batch, channels, size, size); found {shown}")
    tensor = fed[0]
    outputs = _logits(path, runner, tensor, np.zeros(tensor.shape, np.float32)).shape[1]
    fixed = tensor.shape[0]
    batch = fixed if fixed > 1 else _open_batch(path, runner, tensor)

    def answer(images: Tensor) -> Tensor:
        values = images.contiguous().numpy().astype(np.float32)
        # An artefact of a fixed batch gets its last one filled up with zeros, whose answers are dropped.
        missing = -len(values) % batch if batch == fixed else 0
        filled = np.concatenate([values, np.zeros((missing, *values.shape[1:]), np.float32)]) if missing else values
        return torch.from_numpy(np.array(_logits(path, runner, tensor, filled)[: len(values)]))

    description = runner.description
    return EvaluatedModel(
        path=path,
        sha256=sha256(path),
        runtime=f"{description.runtime} {description.version} on {description.device}",
        channels=tensor.shape[1],
        size=tensor.shape[2],
        outputs=outputs,
        batch=batch,
        images=_image_settings(path),
        answer=answer,
    )


def _open_batch(path: Path, runner: Runner, tensor: InputTensor) -> int:
    """Return how many images an artefact takes that was opened for one: more, where it leaves the batch open."""
    try:
        _logits(path, runner, tensor, np.zeros((_BATCH, *tensor.shape[1:]), np.float32))
    except UserError:
        return 1
    return _BATCH


def _logits(path: Path, runner: Runner, tensor: InputTensor, images: np.ndarray) -> np.ndarray:
    outputs = runner.infer({tensor.name: images})
    found = [value for value in outputs.values() if value.ndim == 2 and len(value) == len(images)]
    if len(found) != 1:
        shapes = listed(f"{name} {value.shape}" for name, value in outputs.items())
        raise UserError(f"{path}: expected one output of logits, (batch, classes); found {shapes}")
    return found[0]


def _image_settings(path: Path) -> ImageSettings | None:
    """Return the settings that an artefact says it was trained with."""
    metadata = runtime_of(path).metadata(path)
    return None if metadata is None else metadata.images
