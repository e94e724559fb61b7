"""Train a network and count what it, or any artefact made of it, gets right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qedeploy.api.arguments import as_path, say_nothing

if TYPE_CHECKING:
    from qedeploy.campaign.accuracy.question import AccuracyCorrelation
    from qedeploy.train.data import LabelledData
    from qedeploy.train.evaluate import Evaluation
    from qedeploy.train.execution import TrainingProgress
    from qedeploy.train.recipe import TrainingRecipe
    from qedeploy.train.training import TrainResult


def labelled_data(data: Path | str) -> LabelledData:
    """Return the labelled pictures of a folder or file: those to train on, and those set apart to test on, if any."""
    from qedeploy.train.data import open_data

    return open_data(Path(data))


def train(
    model: Path | str,
    data: Path | str,
    folder: Path | str,
    *,
    recipe: TrainingRecipe | str | None = None,
    profile: str | None = None,
    weights_from: Path | str | None = None,
    distill: str | None = None,
    workers: int | None = None,
    checkpoint_every: float = 600.0,
    strict: bool = False,
    seed: int = 0,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainResult:
    """Train the checkpoint at `model` on the labelled pictures of `data`, and write model.pth and logs into `folder`.

    `recipe` is a training recipe, its name or a TOML file; by default one by the number of pictures. `profile` trains
    for another device, `weights_from` begins with the weights of a checkpoint, `distill` imitates one, or the network
    in float for the word `float`. Pictures that cannot be read are left out and counted, or an error with `strict`. A
    training that was interrupted in `folder` goes on to the same weights; it saves itself every `checkpoint_every`
    seconds.
    """
    from qedeploy.train.data import open_data
    from qedeploy.train.recipe import choose_recipe
    from qedeploy.train.training import TrainOptions
    from qedeploy.train.training import train as train_model

    if recipe is None or isinstance(recipe, str):
        recipe = choose_recipe(recipe, lambda: len(open_data(Path(data)).train.labels))
    options = TrainOptions(
        recipe=recipe,
        profile=profile,
        weights_from=as_path(weights_from),
        distill=distill,
        seed=seed,
        workers=workers,
        checkpoint_every=checkpoint_every,
        strict=strict,
    )
    return train_model(Path(model), Path(data), options, Path(folder), progress or say_nothing)


def evaluate(
    model: Path | str,
    data: Path | str,
    *,
    against: Path | str | None = None,
    fail_if: Iterable[str] = (),
    images: int | None = None,
    threads: int = 1,
    folder: Path | str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Return what a checkpoint or an exported file gets right of the labelled pictures of `data`, by its own runtime.

    `against` is another model, compared on the same pictures; `fail_if` are gates such as `top1<70%`, whose verdicts
    the result has. So many `images` are taken, all by default. Writes accuracy.json and accuracy.html into `folder`.
    """
    from contextlib import nullcontext

    from qedeploy.files import writing
    from qedeploy.train.accuracy_report import DOCUMENT, write_evaluation
    from qedeploy.train.evaluate import EvaluateOptions
    from qedeploy.train.evaluate import evaluate as evaluate_model
    from qedeploy.train.gates import parse_gate

    with nullcontext() if folder is None else writing(Path(folder) / DOCUMENT):
        found = evaluate_model(
            Path(model),
            Path(data),
            EvaluateOptions(images=images, threads=threads),
            against=as_path(against),
            gates=tuple(map(parse_gate, fail_if)),
            progress=progress or say_nothing,
        )
        if folder is not None:
            write_evaluation(found, Path(folder))
    return found


def correlate_accuracy(
    profile: str,
    data: Path | str,
    recipe: str | None = None,
    *,
    budgets: Mapping[str, float | str] | Iterable[str] | None = None,
    arms: Iterable[str] = (),
    networks: int = 24,
    epochs: float = 10.0,
    float_epochs: float | None = None,
    seeds: int = 2,
    training: TrainingRecipe | str | None = None,
    flip: bool = True,
    resolution: int | None = None,
    latency_table: Path | str | None = None,
    threads: int = 1,
    workers: int = 1,
    seed: int = 0,
    cluster: str | None = None,
    folder: Path | str | None = None,
    keep: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> AccuracyCorrelation:
    """Draw networks of one budget, train them alike on the labelled pictures `data`, and say what orders accuracy.

    The first of `budgets` is what all networks use up; without one it is the recipe's of operations. `arms` are
    `widths-fixed`, `shapes-fixed` and `free`, the first two by default where widths differ; each has so many
    `networks`, spread evenly over the score. Each is trained with so many `seeds`: `float_epochs` (as many as `epochs`)
    in float and then `epochs` with quantizers, otherwise by the `training` recipe; without `flip` no picture is
    mirrored. So many `workers` train at a time, each on so many `threads`, or the devices of `cluster` do, which find
    `data` under the same name.

    `folder` gets correlation.json, .svg and .csv and all that was trained; `keep` names one below runs/ where none is
    named. The same call goes on where one was killed or stopped (Interrupted on Ctrl-C), and what is done is not done
    again. A program that trains with `workers` starts below a guard, as one that measures; 0 train in this process.
    """
    from qedeploy.campaign.accuracy.question import AccuracyQuestion, training_recipe
    from qedeploy.campaign.accuracy.study import study
    from qedeploy.files import working_in

    question = AccuracyQuestion.of(
        profile,
        recipe,
        Path(data),
        budgets=budgets or {},
        arms=arms,
        networks=networks,
        seeds=seeds,
        training=training_recipe(training, epochs, epochs if float_epochs is None else float_epochs, flip=flip),
        resolution=resolution,
        latency_table=as_path(latency_table),
        threads=threads,
        seed=seed,
    )
    target = question.folder(as_path(folder)) if keep or folder is not None else None
    with working_in(target):
        return study(question, target, workers=workers, cluster=cluster, watch=progress or say_nothing)
