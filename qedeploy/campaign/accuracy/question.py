"""What an accuracy study is asked, what it answers, and where what it trained is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qedeploy.campaign.accuracy.analysis import ArmResult
from qedeploy.campaign.accuracy.arms import Arm, has_widths
from qedeploy.campaign.accuracy.drawing import LEAST_SHARE
from qedeploy.campaign.journal import RowJournal
from qedeploy.errors import RequestError, UserError
from qedeploy.latency.store import load_model
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS
from qedeploy.search.request import Request, limits_of, make_request
from qedeploy.search.result import run_folder
from qedeploy.search.space.space_builder import build_space

if TYPE_CHECKING:
    from qedeploy.train.recipe import TrainingRecipe

JOURNAL_FILE = "correlation.trainings.jsonl"
FORMAT = "qedeploy-trainings/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyQuestion:
    """What is asked: a request's space at one budget (`held`), how many networks of which arms, and how to train."""

    request: Request
    held: Budget
    data: Path
    fingerprint: str
    test_images: int
    train_images: int
    arms: tuple[Arm, ...]
    networks: int
    seeds: int
    recipe: TrainingRecipe
    threads: int
    seed: int

    @classmethod
    def of(
        cls,
        profile: str,
        recipe: str | None,
        data: Path,
        *,
        budgets: Mapping[str, float | str] | Iterable[str],
        arms: Iterable[str],
        networks: int,
        seeds: int,
        training: TrainingRecipe,
        resolution: int | None,
        latency_table: Path | None,
        threads: int,
        seed: int,
    ) -> Self:
        """Return the question; raises UserError for what cannot be read, RequestError where no budget is named.

        Without `arms` they are those that the space has: widths fixed, and shapes fixed where widths differ.
        """
        from qedeploy.train.data import open_data
        from qedeploy.train.source import fingerprint

        labelled = open_data(data)
        if labelled.test is None:
            raise UserError(
                f"{data}: sets no pictures apart to test on: expected a folder with train/ and val/, or an .npz file "
                "with x_train, y_train, x_test and y_test"
            )
        limits = limits_of(budgets)
        classes = len(labelled.train.classes)
        request = _with_latency(make_request(profile, recipe, limits, resolution, latency_table, classes=classes))
        held = next((kind for kind in (*limits, BITOPS, EXECUTED_BITOPS, FLOPS) if kind in request.budgets), None)
        if held is None:
            raise RequestError(
                f"recipe {request.recipe.name} limits no operations: name the budget that all networks are to use, "
                "such as --budget bitops=20M"
            )
        usual = (Arm.WIDTHS_FIXED, *([Arm.SHAPES_FIXED] if has_widths(request.space) else []))
        return cls(
            request=request,
            held=held,
            data=data,
            fingerprint=fingerprint(labelled.train),
            test_images=len(labelled.test.labels),
            train_images=len(labelled.train.labels),
            arms=tuple(dict.fromkeys(map(_arm, arms))) or usual,
            networks=networks,
            seeds=seeds,
            recipe=training,
            threads=threads,
            seed=seed,
        )

    def document(self) -> dict[str, Any]:
        """Return what decides the networks and how they are trained, as JSON-ready data."""
        asked = self.request.document()
        return {
            **asked,
            "held": {"budget": self.held.name, "least_share": LEAST_SHARE},
            "data": {
                "fingerprint": self.fingerprint,
                "train_images": self.train_images,
                "test_images": self.test_images,
            },
            "arms": [arm.value for arm in self.arms],
            "networks": self.networks,
            "seeds": self.seeds,
            "seed": self.seed,
            "threads": self.threads,
            # As JSON has it, so that what a journal says can be compared.
            "training": json.loads(json.dumps(dataclasses.asdict(self.recipe))),
        }

    def folder(self, out: Path | None) -> Path:
        """Return `out`, or for None a folder below runs/ that the same question leads to again."""
        return run_folder(f"{self.request.profile.name}-accuracy-correlation", self.document(), out)

    def journal(self, folder: Path) -> RowJournal:
        """Return where the trainings are kept that are done."""
        return RowJournal(
            folder / JOURNAL_FILE,
            self.document(),
            form=FORMAT,
            what="trainings",
            command="qedeploy correlate --accuracy",
            mend="name another --out",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyCorrelation:
    """What was asked, what each arm says, and the files that say so, if any were written."""

    question: AccuracyQuestion
    arms: tuple[ArmResult, ...]
    written: tuple[Path, ...] = ()


def training_recipe(
    recipe: TrainingRecipe | str | None, epochs: float, float_epochs: float, *, flip: bool = True
) -> TrainingRecipe:
    """Return how all networks are trained: a recipe, by default `quick` with clipped gradients, for so many epochs.

    Without clipping the loss of the deepest networks of a space, trained on few pictures, may be no number any more.
    """
    from qedeploy.train.recipe import load_recipe, with_changes

    if recipe is None:
        recipe = with_changes(load_recipe("quick"), {"clip": 1.0})
    chosen = load_recipe(recipe) if isinstance(recipe, str) else recipe
    changes = {"epochs": epochs, "float_epochs": float_epochs, "flip": None if flip else 0.0}
    return with_changes(chosen, changes)


def _with_latency(request: Request) -> Request:
    """Return `request` with the latency table kept for its profile, where there is one that knows its widths."""
    found = None if request.space.latency is not None else load_model(request.profile, None)
    if found is None:
        return request
    try:
        return dataclasses.replace(request, space=build_space(request.recipe, request.profile, found[0]))
    except RequestError:
        return request


def _arm(name: str) -> Arm:
    try:
        return Arm(name)
    except ValueError as error:
        raise UserError(f"--arm {name}: expected one of {', '.join(Arm)}") from error
