"""Batches of pictures: which ones, in which order, and made by worker processes where decoding takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from qedeploy.errors import RequestError, UserError
from qedeploy.train.data import Subset
from qedeploy.train.preparation import Preparation
from qedeploy.train.recipe import Augmentation
from qedeploy.train.source import CorruptImageError
from qedeploy.train.transforms import draws_needed, plain_picture, training_picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Pictures as bytes (count, 1 or 3, size, size) and their labels; `skipped` are messages on those left out.

    `share` is mixup's share of each picture, 1 where there is none.
    """

    pixels: Tensor
    labels: Tensor
    skipped: tuple[str, ...]
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchRequest:
    """One process's part of a batch: pictures `places` of a source, the first of which is number `first` of `whole`."""

    seeds: tuple[int, ...]
    places: NDArray[np.int64]
    first: int
    whole: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """In which order a stage meets `count` pictures, in batches of `batch`.

    Process `rank` of `world` sees its part of every batch. Every epoch has an order of its own, drawn by the seeds;
    pictures that fill no batch wait for another epoch.
    """

    count: int
    batch: int
    seeds: tuple[int, ...]
    rank: int = 0
    world: int = 1

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return max(1, self.count // self.batch)

    def requests(self, first_step: int, last_step: int) -> Iterator[BatchRequest]:
        """Yield what the steps from `first_step` up to `last_step`, counted over all epochs, need."""
        epoch, order = -1, np.empty(0, np.int64)
        whole = min(self.batch, self.count)
        part = whole // self.world
        for step in range(first_step, last_step):
            if step // self.steps != epoch:
                epoch = step // self.steps
                order = np.random.default_rng([*self.seeds, epoch]).permutation(self.count)
            start = (step % self.steps) * whole + self.rank * part
            yield BatchRequest(
                seeds=(*self.seeds, epoch, step),
                places=order[start : start + part],
                first=self.rank * part,
                whole=whole,
            )


class TrainingPictures(Dataset[Batch]):
    """Makes the batch of a Request: the same one wherever and whenever it is made."""

    def __init__(self, subset: Subset, preparation: Preparation, augmentation: Augmentation) -> None:
        """Take the pictures of `subset`."""
        self._subset = subset
        self._preparation = preparation
        self._augmentation = augmentation

    def __getitem__(self, request: BatchRequest) -> Batch:
        """Return the pictures of a request; raises RequestError where none of them can be read."""
        generator = np.random.default_rng([*request.seeds, 1])
        mixup = self._augmentation.mixup
        share = float(generator.beta(mixup, mixup)) if mixup else 1.0
        draws = generator.random((request.whole, draws_needed(self._augmentation)))[request.first :]
        settings = self._preparation

        def prepare(pixels: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
            return training_picture(pixels, settings, self._augmentation, draws[row])

        return _made(self._subset, request.places, settings, prepare, share)


class TestPictures(Dataset[Batch]):
    """Makes batches of centre crops, of whichever places of a subset are asked for."""

    __test__ = False

    def __init__(self, subset: Subset, preparation: Preparation) -> None:
        """Take the pictures of `subset`."""
        self._subset = subset
        self._preparation = preparation

    def __getitem__(self, places: NDArray[np.int64]) -> Batch:
        """Return pictures by their number in the subset."""
        settings = self._preparation
        return _made(
            self._subset,
            places,
            settings,
            lambda pixels, _: plain_picture(pixels, settings),
        )


class _Answering(Dataset[Batch | UserError]):
    """Answers with the error where a batch cannot be made: raised in a worker, its message would be a traceback."""

    def __init__(self, pictures: Dataset[Batch]) -> None:
        self._pictures = pictures

    def __getitem__(self, request: Any) -> Batch | UserError:
        try:
            return self._pictures[request]
        except UserError as error:
            return error


def _say_nothing(_worker: int) -> None:
    """Let a worker print no traceback where whoever it works for is gone; its own errors reach that one otherwise."""
    sys.excepthook = lambda *_: None


def loaded(pictures: Dataset[Batch], requests: Iterable[Any], workers: int, *, pin: bool = False) -> Iterator[Batch]:
    """Yield the batch of each request, made ahead by `workers` processes, or here for 0.

    `workers_alive` goes around whatever takes them. Raises what the making of a batch raises for a user.
    """
    loader: DataLoader[Batch | UserError] = DataLoader(
        _Answering(pictures),
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        worker_init_fn=_say_nothing,
        pin_memory=pin and workers > 0,
        prefetch_factor=4 if workers else None,
        # A loader draws a seed for its workers; what they draw comes from the requests alone.
        generator=torch.Generator(),
    )
    for made in loader:
        if isinstance(made, UserError):
            raise made
        yield made


@contextmanager
def workers_alive() -> Iterator[None]:
    """Raise RequestError, with what to do, where a process that makes batches for the block dies.

    PyTorch notices by a signal, and raises in whatever line is then computed: not where the next batch is taken.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RequestError(
            "a process that decodes pictures died (out of memory?): run the same command again with fewer of them "
            "(--workers); a training goes on from its last checkpoint"
        ) from error


def all_places(count: int, batch: int, rank: int = 0, world: int = 1) -> list[NDArray[np.int64]]:
    """Return the numbers of every picture once, in batches; each of `world` processes has its own share."""
    mine = np.arange(rank, count, world)
    return [mine[start : start + batch] for start in range(0, len(mine), batch)]


def _made(
    subset: Subset,
    numbers: NDArray[np.int64],
    settings: Preparation,
    prepare: Any,
    share: float = 1.0,
) -> Batch:
    source = subset.source
    pictures, labels, skipped = [], [], []
    for row, number in enumerate(numbers.tolist()):
        place = int(subset.places[number])
        try:
            picture = source.picture(place)
        except CorruptImageError as error:
            if settings.strict:
                raise
            skipped.append(str(error))
            continue
        pictures.append(prepare(picture, row))
        labels.append(int(settings.class_places[source.labels[place]]))
    if not pictures:
        raise RequestError(f"none of {len(numbers)} pictures of a batch can be read: {skipped[0]}")
    # Channels come last in memory, as the network wants them.
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return Batch(pixels=pixels, labels=torch.tensor(labels), skipped=tuple(skipped), share=share)
