"""One stage of a training: steps over the data from wherever it was interrupted, the best weights kept."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from qedeploy.errors import RequestError
from qedeploy.model.network import QuantizedNetwork, quantizers
from qedeploy.train.batches import Batch, Order, TrainingPictures, loaded, workers_alive
from qedeploy.train.checkpoints import Best, Keeper, TrainingState
from qedeploy.train.diagnosis import broken_layer
from qedeploy.train.execution import (
    Execution,
    InterruptedTraining,
    Pictures,
    TrainingProgress,
    TrainingStage,
    Watch,
    interruptions,
)
from qedeploy.train.group import spread
from qedeploy.train.optimization import WeightAverage, make_optimizer, rate_at
from qedeploy.train.predictions import share_right
from qedeploy.train.recipe import TrainingRecipe
from qedeploy.train.transforms import mix, neighbours

_REPORTS_EACH = 0.5
"""Seconds between reports to whoever watches, and between looks at a GPU's loss."""


@dataclass(slots=True, kw_only=True)
class Skipped:
    """Pictures that could not be read, by message, each counted once."""

    messages: dict[str, int] = field(default_factory=dict)

    def note(self, batch: Batch) -> None:
        """Take in what a batch left out."""
        for message in batch.skipped:
            self.messages[message] = self.messages.get(message, 0) + 1


class StageTraining:
    """One stage of a training over its data: made, restored from a standing, and run to its end."""

    def __init__(
        self,
        stage: TrainingStage,
        network: QuantizedNetwork,
        recipe: TrainingRecipe,
        pictures: Pictures,
        execution: Execution,
        *,
        teacher: nn.Module | None = None,
    ) -> None:
        """Prepare to train `network`, on the group's device already; `teacher` gives the logits to imitate, if any."""
        self.stage, self.network, self.recipe = stage, network, recipe
        self.pictures, self.execution, self.teacher = pictures, execution, teacher
        group = execution.group
        self.order = Order(
            count=len(pictures.train),
            batch=recipe.batch,
            seeds=(execution.seed, stage.number),
            rank=group.rank,
            world=group.world,
        )
        self.steps = max(1, round(stage.epochs * self.order.steps))
        self.warm_up = min(round(recipe.warm_up_epochs * self.order.steps), self.steps // 4)
        self.skipped = Skipped()
        self.average = WeightAverage(network, recipe.ema) if recipe.ema else None
        self.optimizer = make_optimizer(network, recipe)
        self.model = spread(network, group, execution.accumulate)
        if execution.compiled:
            self.model = torch.compile(self.model)  # type: ignore[assignment]

    @property
    def judged(self) -> QuantizedNetwork:
        """The network whose weights are evaluated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.network

    def restore(self, standing: TrainingState) -> None:
        """Go on from `standing`, of this stage."""
        self.network.load_state_dict(standing.weights)
        mark_set(self.network, standing.set_steps)
        if standing.optimizer is not None:
            self.optimizer.load_state_dict(dict(standing.optimizer))
        if self.average is not None and standing.average is not None:
            self.average.network.load_state_dict(standing.average)
            self.average.updates = standing.updates

    def run(
        self, standing: TrainingState, keeper: Keeper, watch: Watch, on_row: Callable[[TrainingState], None]
    ) -> None:
        """Train from the step of `standing` to the end, keeping it up to date and saved.

        Raises InterruptedTraining after Ctrl-C, RequestError naming the layer where the loss is no number any more.
        """
        batches = loaded(
            TrainingPictures(self.pictures.train, self.pictures.preparation, self.recipe.augmentation),
            self.order.requests(standing.step, self.steps),
            self.execution.workers,
            pin=self.execution.group.device.type == "cuda",
        )
        began, images, last_report = time.monotonic(), 0, 0.0
        before = standing.seconds
        sums = _Sums(standing.sums, self.execution.group.device)
        self.network.train()
        with interruptions() as interrupted, workers_alive():
            for step, batch in enumerate(batches, start=standing.step):
                self.skipped.note(batch)
                sums.add(*self.train_step(step, batch))
                images += len(batch.labels) * self.execution.group.world
                standing.step = step + 1
                now = time.monotonic()
                standing.seconds = before + now - began
                on_time = now - last_report >= _REPORTS_EACH
                if self.execution.group.device.type == "cpu" or on_time:
                    self._require_number(sums, step, batch)
                if on_time:
                    last_report = now
                    watch(self._progress(standing, sums, images / max(now - began, 1e-9)))
                if standing.step % self.order.steps == 0 or standing.step == self.steps:
                    # The loss of a step is from before its update, which may be what broke the weights.
                    self._require_number(sums, step, batch, state=True)
                    self._end_epoch(standing, sums, images / max(now - began, 1e-9))
                    on_row(standing)
                if interrupted.is_set() or keeper.due:
                    self.keep(standing, sums.totals(), keeper)
                if interrupted.is_set():
                    raise InterruptedTraining

    def train_step(self, step: int, batch: Batch) -> tuple[Tensor, Tensor, int]:
        """Change the weights once; returns the summed loss, the number of right answers and of images.

        Raises RequestError where the memory of a GPU runs out, with a number of parts in which the batch fits.
        """
        try:
            return self._train_step(step, batch)
        except torch.OutOfMemoryError as error:
            fits = self._fitting(batch)
            mend = f"{fits} images at a time fit: use --accumulate {-(-len(batch.labels) // fits)}" if fits else ""
            raise RequestError(
                f"no memory is left on {self.execution.group.device} for {len(batch.labels)} images at a time; "
                f"{mend or 'not even one image fits'}, or a smaller --batch"
            ) from error

    def _fitting(self, batch: Batch) -> int:
        """Return how many of a batch's images the device computes at a time, 0 for not even one."""
        count = len(batch.labels) // self.execution.accumulate // 2
        while count:
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            images = self.pictures.normaliser(batch.pixels[:count])
            labels = batch.labels[:count].to(images.device)
            try:
                self._loss(images, labels, labels, 1.0)[0].backward()  # type: ignore[no-untyped-call]
            except torch.OutOfMemoryError:
                count //= 2
            else:
                return count
        return 0

    def _train_step(self, step: int, batch: Batch) -> tuple[Tensor, Tensor, int]:
        execution = self.execution
        rate = rate_at(step, self.steps, self.warm_up, self.stage.rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images = self.pictures.normaliser(batch.pixels)
        labels = batch.labels.to(images.device, non_blocking=True)
        others = labels[neighbours(len(labels), images.device)]
        if batch.share < 1:
            images = mix(images, batch.share)
        self.optimizer.zero_grad(set_to_none=True)
        count = len(labels)
        losses, right = torch.zeros((), device=images.device), torch.zeros((), device=images.device)
        bounds = [round(count * part / execution.accumulate) for part in range(execution.accumulate + 1)]
        for first, last in pairwise(bounds):
            waits = last < count and isinstance(self.model, nn.parallel.DistributedDataParallel)
            with self.model.no_sync() if waits else contextlib.nullcontext():  # type: ignore[operator]
                part = slice(first, last)
                loss, hits = self._loss(images[part], labels[part], others[part], batch.share)
                (loss * ((last - first) / count)).backward()  # type: ignore[no-untyped-call]
            losses += loss.detach() * (last - first)
            right += hits
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        return losses, right, count

    def keep(self, standing: TrainingState, sums: Mapping[str, float], keeper: Keeper) -> None:
        """Save the standing with the weights as they are now."""
        standing.sums = dict(sums)
        fill(standing, self.network)
        standing.optimizer = self.optimizer.state_dict()
        if self.average is not None:
            standing.average = self.average.network.state_dict()
            standing.updates = self.average.updates
        if self.execution.group.writes:
            keeper.save(standing)

    def _loss(self, images: Tensor, labels: Tensor, others: Tensor, share: float) -> tuple[Tensor, Tensor]:
        smoothing = self.recipe.label_smoothing
        with self.execution.arithmetic():
            logits = self.model(images).float()
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
            if share < 1:
                second = functional.cross_entropy(logits, others, label_smoothing=smoothing)
                loss = share * loss + (1 - share) * second
            if self.teacher is not None:
                with torch.no_grad():
                    wanted = self.teacher(images).float().log_softmax(dim=1)
                gap = functional.kl_div(logits.log_softmax(dim=1), wanted, reduction="batchmean", log_target=True)
                loss = self.recipe.distill_weight * gap + (1 - self.recipe.distill_weight) * loss
        return loss, (logits.argmax(dim=1) == labels).sum()

    def _end_epoch(self, standing: TrainingState, sums: _Sums, rate: float) -> None:
        totals = sums.totals()
        top1 = share_right(
            self.judged, self.pictures.held_out, self.pictures.preparation, self.pictures.normaliser, self.execution
        )
        epoch = standing.step / self.order.steps
        standing.rows.append(
            {
                "stage": self.stage.name,
                "epoch": round(epoch, 4),
                "rate": rate_at(standing.step - 1, self.steps, self.warm_up, self.stage.rate),
                "loss": totals["loss"] / max(totals["images"], 1),
                "top1": totals["right"] / max(totals["images"], 1),
                "held_out_top1": top1,
                "images_per_second": round(rate, 1),
                "seconds": round(standing.seconds, 2),
            }
        )
        # Of equals the later one: it has seen more.
        if standing.best is None or top1 >= standing.best.top1:
            standing.best = Best(weights=_copied(self.judged), top1=top1, epoch=epoch)
        sums.clear()
        self.network.train()

    def _progress(self, standing: TrainingState, sums: _Sums, rate: float) -> TrainingProgress:
        totals = sums.totals()
        images = max(totals["images"], 1)
        return TrainingProgress(
            stage=self.stage.name,
            step=standing.step,
            steps=self.steps,
            epoch=standing.step / self.order.steps,
            epochs=self.steps / self.order.steps,
            loss=totals["loss"] / images,
            top1=totals["right"] / images,
            images_per_second=rate,
            best=None if standing.best is None else standing.best.top1,
        )

    def _require_number(self, sums: _Sums, step: int, batch: Batch, *, state: bool = False) -> None:
        """Raise RequestError where the loss, or with `state` a weight or statistic, is no number any more."""
        sound = not state or all(bool(value.isfinite().all()) for value in self.network.state_dict().values())
        if sound and math.isfinite(sums.totals()["loss"]):
            return
        found = broken_layer(self.network, self.pictures.normaliser(batch.pixels))
        raise RequestError(
            f"the loss is no number any more at step {step + 1} of {self.steps} ({self.stage.name} training, epoch "
            f"{step / self.order.steps:.2f}): {found}; train with a lower --rate or with --clip 1, the last checkpoint "
            "is from before"
        )


class _Sums:
    """Loss, right answers and images added up on the device, where reading them would make it wait."""

    def __init__(self, before: Mapping[str, float], device: torch.device) -> None:
        self._images = int(before.get("images", 0))
        numbers = [before.get("loss", 0.0), before.get("right", 0.0)]
        self._numbers = torch.tensor(numbers, dtype=torch.float64, device="cpu").to(device)

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Take in one step."""
        self._numbers += torch.stack([loss, right])
        self._images += images

    def totals(self) -> dict[str, float]:
        """Return the sums."""
        loss, right = self._numbers.tolist()
        return {"loss": loss, "right": right, "images": self._images}

    def clear(self) -> None:
        """Begin at zero again."""
        self._numbers.zero_()
        self._images = 0


def fill(standing: TrainingState, network: QuantizedNetwork) -> None:
    """Put the weights of `network` into `standing`, and which of its steps were set and not trained."""
    standing.weights = network.state_dict()
    standing.set_steps = tuple(name for name, one in quantizers(network) if bool(one.initialized) and not one.trained)


def mark_set(network: QuantizedNetwork, names: tuple[str, ...]) -> None:
    """Mark the steps of these quantizers as set and not trained."""
    chosen = set(names)
    for name, quantizer in quantizers(network):
        quantizer.trained = quantizer.trained and name not in chosen


def _copied(network: QuantizedNetwork) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}
