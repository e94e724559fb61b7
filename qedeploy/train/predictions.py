"""What a model says of images: the places of the right classes among its answers, by PyTorch or by any runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qedeploy.train.batches import TestPictures, all_places, loaded, workers_alive
from qedeploy.train.data import Subset
from qedeploy.train.execution import Execution
from qedeploy.train.preparation import Preparation
from qedeploy.train.transforms import Normaliser

BATCH = 100
"""Images that PyTorch computes at a time in an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """The answers of a model: the `labels`, the class it says (`chosen`) and the `rank` of the right one, all (count,).

    Rank 0 is the first answer. Where two logits are equal, the class that comes first wins, as in NumPy's argmax.
    `skipped` are messages on pictures that could not be read.
    """

    labels: NDArray[np.int64]
    chosen: NDArray[np.int64]
    rank: NDArray[np.int64]
    skipped: tuple[str, ...] = ()


@workers_alive()
def predictions(
    answer: Callable[[Tensor], Tensor],
    subset: Subset,
    preparation: Preparation,
    normaliser: Normaliser,
    *,
    batch: int = BATCH,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Predictions:
    """Return what `answer` (images to logits) says of every picture of `subset`."""
    labels, chosen, ranks = [], [], []
    skipped: list[str] = []
    done = 0
    for made in loaded(TestPictures(subset, preparation), all_places(len(subset), batch), workers):
        logits = answer(normaliser(made.pixels)).float().cpu()
        labels.append(made.labels)
        chosen.append(logits.argmax(dim=1))
        ranks.append(_ranks(logits, made.labels))
        skipped.extend(made.skipped)
        done += len(made.labels) + len(made.skipped)
        progress(done, len(subset))
    return Predictions(
        labels=torch.cat(labels).numpy(),
        chosen=torch.cat(chosen).numpy(),
        rank=torch.cat(ranks).numpy(),
        skipped=tuple(skipped),
    )


@torch.no_grad()
@workers_alive()
def share_right(
    network: nn.Module, subset: Subset, preparation: Preparation, normaliser: Normaliser, execution: Execution
) -> float:
    """Return the share of `subset` whose class `network` says, counted by the whole group; its mode stays."""
    was_training = network.training
    network.eval()
    group = execution.group
    counts = torch.zeros(2, dtype=torch.float64, device=group.device)
    requests = all_places(len(subset), BATCH, group.rank, group.world)
    for made in loaded(TestPictures(subset, preparation), requests, execution.workers):
        with execution.arithmetic():
            logits = network(normaliser(made.pixels)).float()
        labels = made.labels.to(logits.device)
        counts += torch.stack([(logits.argmax(dim=1) == labels).sum(), torch.tensor(len(labels), device=labels.device)])
    network.train(was_training)
    right, count = group.total(counts).tolist()
    return float(right / max(count, 1))


def sample_images(subset: Subset, preparation: Preparation, normaliser: Normaliser, count: int) -> Iterator[Tensor]:
    """Yield batches of up to `count` pictures, evenly spread over `subset`, as evaluation prepares them."""
    chosen = np.linspace(0, len(subset) - 1, min(count, len(subset))).round().astype(np.int64)
    requests = [chosen[first : first + BATCH] for first in range(0, len(chosen), BATCH)]
    for made in loaded(TestPictures(subset, preparation), requests, 0):
        yield normaliser(made.pixels)


def _ranks(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(dim=1)
