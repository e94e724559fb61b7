"""`qedeploy evaluate`: what a model gets right, by its own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qedeploy.cli.options import QuietOption, ThreadsOption


def evaluate(
    model: Annotated[Path, typer.Argument(help="model.pth, model.onnx or an engine: the very file that is timed.")],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Pictures in class folders, .tar shards or an .npz file; of those, val/ where it is."
        ),
    ],
    against: Annotated[Path | None, typer.Option(help="Another model, compared on the same pictures.")] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Exit with 3 if so: top1<70%, top5<90%, top1-drop>0.5% (of --against).")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="So many pictures, evenly spread.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; beside the model.")] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of pixels from 0 to 1 (default: the training's).")
    ] = None,
    deviation: Annotated[str | None, typer.Option(metavar="R,G,B", help="Standard deviation, likewise.")] = None,
    threads: ThreadsOption = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode pictures.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a picture that cannot be read.")] = False,
    quiet: QuietOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print accuracy.json instead of text.")] = False,
) -> Path:
    """Count what MODEL gets right: top-1 and top-5 with intervals, by class, and against another model.

    Exit code 3 where a --fail-if gate fails, or where its interval contains the limit.
    """
    from qedeploy.files import json_text, writing
    from qedeploy.qdq.images import parse_normalisation
    from qedeploy.rulings import enforce
    from qedeploy.screen import bars, line, screen
    from qedeploy.train.accuracy_report import DOCUMENT, print_evaluation, write_evaluation
    from qedeploy.train.evaluate import EvaluateOptions, to_document
    from qedeploy.train.evaluate import evaluate as evaluate_model
    from qedeploy.train.gates import parse_gate

    options = EvaluateOptions(
        images=images, threads=threads, workers=workers, settings=parse_normalisation(mean, deviation), strict=strict
    )
    gates = tuple(map(parse_gate, fail_if or ()))
    console, folder = screen(stderr=True, quiet=quiet), out or model.parent
    with writing(folder / DOCUMENT), bars(console) as bar:
        tasks = {path.name: bar.add_task(path.name, total=None) for path in (model, against) if path is not None}
        found = evaluate_model(
            model,
            data,
            options,
            against=against,
            gates=gates,
            progress=lambda what, done, total: bar.update(tasks[what], completed=done, total=total),
        )
        written = write_evaluation(found, folder)
    if json:
        typer.echo(json_text(to_document(found)), nl=False)
    else:
        print_evaluation(screen(quiet=quiet), found)
        screen(quiet=quiet).print(line(f"wrote {written.document} and {written.report}"), soft_wrap=True)
    enforce(found.verdicts)
    return written.document
