"""Whether widths that data choose gain over the same widths everywhere, or over the score's, once all were trained.

    python benchmarks/assignment.py FOLDER [--seeds 3] [--float-epochs 6] [--epochs 3] [--page docs/measured]

FOLDER is that of accuracy.py, whose networks this goes on from: one searched shape, W4A4 and W3A3 in all inner layers
and the mixed widths that the search chose by QE-Score. Beside each of them stands one whose widths `qedeploy quantize`
chose from pictures, within the same BitOps and from the same float network. All are rounded without training, and all
are trained alike. Cells of FOLDER/cells.jsonl are not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from accuracy import EDGES, MIXED, PROFILE, Bench, fashion, searched, with_widths
from accuracy_page import FLOAT, POST_TRAINING, Cell, Settings
from assignment_page import DATA, Pair, print_pairs, write_page

from qedeploy import api
from qedeploy.network.costs import structure_costs
from qedeploy.network.structure import Structure

OTHERS = ("W4A4", MIXED, "W3A3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where accuracy.py trains too")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--float-epochs", type=float, default=4)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--limit", default="64M", help="BitOps of the searched shape")
    parser.add_argument("--train-images", type=int, help="so many of Fashion-MNIST's")
    parser.add_argument("--page", type=Path, help="folder for assignment-after-training.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        float_epochs=options.float_epochs, epochs=options.epochs, train_images=options.train_images, limit=options.limit
    )
    bench = Bench(options.folder, fashion(options.folder, options.train_images))
    pairs = []
    for seed in range(options.seeds):
        bench.cell(options.limit, FLOAT, seed, settings)
        for suffix in (POST_TRAINING, ""):
            for other in OTHERS:
                pairs.append(compared(bench, other, suffix, seed, settings))
                print(pairs[-1].line(), flush=True)
    print_pairs(pairs)
    if options.page is not None:
        command = (
            f"python benchmarks/assignment.py FOLDER --seeds {options.seeds} --float-epochs {options.float_epochs:g} "
            f"--epochs {options.epochs:g} --page docs/measured"
        )
        print(f"wrote {write_page(options.page, pairs, settings, command)}")


def compared(bench: Bench, other: str, suffix: str, seed: int, settings: Settings) -> Pair:
    """Return what the widths `other` and those from data within their BitOps got right, with one seed."""
    theirs = bench.cell(settings.limit, other + suffix, seed, settings)
    folder = bench.folder / settings.limit / settings.name / f"seed{seed}"
    structure = from_data(bench, folder, with_widths(searched(settings.limit), other), other)
    ours: Cell = bench.cell(settings.limit, f"{DATA} within {other}{suffix}", seed, settings, structure)
    return Pair(seed=seed, trained=not suffix, other=other, theirs=theirs, ours=ours, widths=widths(structure))


def from_data(bench: Bench, folder: Path, other: Structure, name: str) -> Structure:
    """Return the shape with the widths that data choose within the BitOps of `other`, edges held as they are there."""
    found = api.assign_widths(
        folder / "float32" / "float.pth",
        bench.data,
        profile=PROFILE,
        budgets=[f"bitops={structure_costs(other).bitops:.0f}"],
        fixed=[f"{EDGES[0]}=W8A8"],
        folder=folder / f"{DATA}-within-{name}-widths",
    )
    return found.found.checkpoint.structure


def widths(structure: Structure) -> Sequence[str]:
    """Return the pair of each layer, in order."""
    from qedeploy.network.layers import expand_layers

    return [str(layer.bits) for layer in expand_layers(structure)]


if __name__ == "__main__":
    main()
