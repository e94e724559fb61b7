"""`qedeploy train`: labelled pictures make a network that is worth exporting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli import completion
from qedeploy.cli.options import NoFlipOption, QuietOption


def train(
    model: Annotated[Path, typer.Argument(help="model.pth, from search, import or an earlier training.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Pictures: class folders, also in train/ and val/, .tar shards, or an .npz file."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write to (default: trained/ beside the model).")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="small, quick, imagenet-240 or a TOML file (default: by the number of pictures).",
            autocompletion=completion.trainings,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="float|scratch|CHECKPOINT",
            help="Begin with the float network, with quantizers on, or with the weights of a checkpoint.",
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="Epochs with quantizers; 0 calibrates.")] = None,
    float_epochs: Annotated[float | None, typer.Option(min=0, help="Epochs of the float network before it.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Train for another device than the model was made for.", autocompletion=completion.profiles),
    ] = None,
    distill: Annotated[
        str | None, typer.Option(metavar="float|CHECKPOINT", help="Imitate the float network, or another one.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures in a step, over all processes.")] = None,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate of the quantized network.")] = None,
    float_rate: Annotated[float | None, typer.Option(help="Highest learning rate of the float network.")] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="sgd|adamw", help="What takes the steps.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay, of weights only.")] = None,
    warm_up: Annotated[float | None, typer.Option(help="Epochs in which the rate grows.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Share of the loss on all classes.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the averaged weights; 0 for none.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient; 0 for any.")] = None,
    crop: Annotated[str | None, typer.Option(metavar="resized|padded|none", help="How pictures are cut.")] = None,
    no_flip: NoFlipOption = False,
    mixup: Annotated[float | None, typer.Option(help="Alpha of mixup; 0 for none.")] = None,
    randaugment: Annotated[int | None, typer.Option(help="Operations of RandAugment; 0 for none.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode (default: one per core).")] = None,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts to compute a batch in, where memory is short.")] = 1,
    half: Annotated[bool, typer.Option(help="Multiply in bfloat16 on a GPU.")] = True,
    compile_: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile make the kernels, which takes minutes at first.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch (default: its own choice).")] = None,
    checkpoint_every: Annotated[str, typer.Option(help="Time between checkpoints.")] = "600s",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew where a training was interrupted.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a picture that cannot be read.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order and of what is done to pictures.")] = 0,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print train.json instead of text.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what time and memory it will take.")] = False,
) -> Path:
    """Train MODEL on pictures, on the numbers that its device will compute with; `qedeploy train model.pth --data DIR`.

    Writes model.pth, train.json, log.csv and curves.svg. Interrupted or killed, the same command goes on. On several
    GPUs: `torchrun --nproc-per-node N -m qedeploy train ...`.
    """
    import os
    from dataclasses import asdict

    from qedeploy.files import json_text, read_text
    from qedeploy.screen import screen
    from qedeploy.train.data import open_data
    from qedeploy.train.execution import InterruptedTraining
    from qedeploy.train.log import DOCUMENT
    from qedeploy.train.recipe import Start, choose_recipe, with_changes
    from qedeploy.train.terminal import print_next, print_plan, print_trained, training_shown
    from qedeploy.train.training import TrainOptions
    from qedeploy.train.training import train as train_model
    from qedeploy.units import parse_seconds

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    words = {"float": Start.FLOAT, "scratch": Start.SCRATCH}
    chosen = with_changes(
        choose_recipe(recipe, lambda: len(open_data(data).train.labels)),
        {
            "start": words.get(start or ""),
            "epochs": epochs,
            "float_epochs": float_epochs,
            "batch": batch,
            "rate": rate,
            "float_rate": float_rate,
            "optimizer": optimizer,
            "weight_decay": weight_decay,
            "warm_up_epochs": warm_up,
            "label_smoothing": label_smoothing,
            "ema": ema,
            "clip": clip,
            "crop": crop,
            "flip": 0.0 if no_flip else None,
            "mixup": mixup,
            "randaugment": randaugment,
        },
    )
    options = TrainOptions(
        recipe=chosen,
        profile=profile,
        weights_from=Path(start) if start is not None and start not in words else None,
        distill=distill,
        seed=seed,
        workers=workers,
        accumulate=accumulate,
        half=half,
        compiled=compile_,
        checkpoint_every=parse_seconds(checkpoint_every, "--checkpoint-every"),
        restart=restart,
        strict=strict,
    )
    folder = out or model.parent / "trained"
    errors = screen(stderr=True, quiet=quiet or os.environ.get("RANK", "0") != "0")
    if dry_run:
        from qedeploy.train.estimate import estimate

        plan = estimate(model, data, options, folder)
        if as_json:
            typer.echo(json_text(asdict(plan)), nl=False)
        else:
            print_plan(screen(quiet=quiet), plan)
        return folder
    try:
        with training_shown(errors) as watch:
            result = train_model(model, data, options, folder, watch, lambda text: errors.print(text, highlight=False))
    except InterruptedTraining:
        errors.print(
            f"interrupted and saved in {folder}: the same command goes on from there", highlight=False, soft_wrap=True
        )
        raise
    if os.environ.get("RANK", "0") == "0":
        console = screen(quiet=quiet or as_json)
        print_trained(console, result)
        print_next(console, result)
        if as_json:
            typer.echo(read_text(result.model.parent / DOCUMENT), nl=False)
    return result.model
