"""The exact search: optima, proofs, times, growth, and evolution beside it. Run `python benchmarks/search_exact.py`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS, LAYERS, SIZE
from qedeploy.search.costs.budgets.peak_memory import PEAK_MEMORY
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.evolution import solver
from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.exact.completion import ChannelGrid, complete
from qedeploy.search.exact.problem import Prices, Problem
from qedeploy.search.exact.solver import Solution, solve
from qedeploy.search.request import make_request
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.search.space.space import BitsPer, SearchSpace

CONSOLE = Console(highlight=False, width=120)
RECIPES = ("mixed-7d0g", "mixed-19d2g")
EVALUATIONS = 500_000
REPEATS = 3


def main() -> None:
    reference()
    commands()
    against_evolution()
    harder()
    growth()


def reference() -> None:
    """The reference's space with its head at W5A5: the optima a prototype found."""
    table = table_of("head fixed at W5A5", "recipe", "score", "flops", "gap", "labels", "best of 3, s")
    for recipe in RECIPES:
        request = make_request("any-bits", recipe)
        fixed = {**request.space.pairs, LayerCategory.HEAD: (Bits(weight=5, activation=5),)}
        solution, seconds = timed(replace(request.space, pairs=fixed), request.budgets)
        used = budget_costs(solution.found[0].structure, request.space)[FLOPS]
        certificate = solution.certificate
        table.add_row(
            recipe,
            f"{certificate.score:.13f}",
            f"{used}",
            f"{certificate.gap:.1e}",
            f"{certificate.labels}",
            f"{seconds:.2f}",
        )
    CONSOLE.print(table)


def commands() -> None:
    """From process start to written files, through the command line, with the process's peak memory."""
    table = table_of(
        "command line, 2 cores at most", "recipe", "model.pth", "best of 3, s", "CPU s", "largest process, MB"
    )
    with tempfile.TemporaryDirectory() as folder:
        for recipe in RECIPES:
            for model in ("--no-model", "--model"):
                runs = [run_command(recipe, model, folder) for _ in range(REPEATS)]
                wall, cpu, peak = min(runs)
                table.add_row(
                    recipe, "no" if model == "--no-model" else "yes", f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.0f}"
                )
    CONSOLE.print(table)


def run_command(recipe: str, model: str, folder: str) -> tuple[float, float, float]:
    script = str(Path(sys.executable).parent / "qedeploy")
    out = str(Path(folder) / recipe)
    arguments = [script, "search", "--profile", "any-bits", "--recipe", recipe, model, "--quiet", "--out", out]
    began = time.perf_counter()
    process = os.posix_spawn(script, arguments, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def against_evolution() -> None:
    table = table_of("exact against evolution", "recipe", "method", "score", "s", "looked at", "proof")
    for recipe in RECIPES:
        request = make_request("any-bits", recipe)
        solution, seconds = timed(request.space, request.budgets)
        certificate = solution.certificate
        proof = f"none above {certificate.upper_bound:.4f}"
        table.add_row(
            recipe, "exact", f"{certificate.score:.4f}", f"{seconds:.2f}", f"{certificate.labels} labels", proof
        )
        began = time.perf_counter()
        found = solver.solve(
            request.space, request.budgets, EvolutionSettings(evaluations=EVALUATIONS), start=request.recipe.start
        )
        seconds = time.perf_counter() - began
        score = qe_score(found.structure, request.space.score)
        table.add_row("", "evolution", f"{score:.4f}", f"{seconds:.2f}", f"{found.evaluations} structures", "none")
    CONSOLE.print(table)


def harder() -> None:
    """Widths per layer, several budgets, other devices."""
    flops = {FLOPS: 109e6}
    three = {BITOPS: 7e9, SIZE: 1.0e6, LAYERS: 44.0}
    shapes = {BITOPS: 7e9, SIZE: 0.7e6, EXECUTED_BITOPS: 15e9}
    tight = {BITOPS: 7e9, SIZE: 0.7e6, LAYERS: 44.0}
    space = make_request("any-bits", "mixed-7d0g").space
    layered = replace(space, bits_per=BitsPer.LAYER)
    cases: list[tuple[str, SearchSpace, Mapping[Budget, float]]] = [
        ("per layer, flops", layered, flops),
        ("per block, bitops + size + layers", space, three),
        ("per layer, bitops + size + layers", layered, three),
        ("per layer, the same with a tight size", layered, tight),
        ("per block, bitops + peak memory", space, {BITOPS: 7e9, PEAK_MEMORY: 600e3}),
    ]
    eight = replace(layered, executed=dict.fromkeys(layered.executed, Bits(weight=8, activation=8)))
    cases.append(("per layer, bitops + size + executed at 8 bits", eight, shapes))
    every = make_request("any-bits").space
    held = {BITOPS: 7e9, SIZE: 1e6, PEAK_MEMORY: 256.0 * 1024}
    cases.append(("per block of 49 pairs, bitops + size + peak memory", every, held))
    cases.append(("per layer of 49 pairs, the same", replace(every, bits_per=BitsPer.LAYER), held))
    for profile in ("cpu-int8", "t4-int4", "stm32f746-cmix", "stm32h743-cmix", "any-bits"):
        request = make_request(profile)
        cases.append((f"{profile}, {request.recipe.name}", request.space, dict(request.budgets)))
    table = table_of("harder, and other devices", "case", "score", "gap", "status", "labels", "s")
    for name, chosen, budgets in cases:
        solution, seconds = timed(chosen, budgets, repeats=1)
        found = solution.certificate
        table.add_row(
            name, f"{found.score:.4f}", f"{found.gap:.1e}", str(found.status), f"{found.labels}", f"{seconds:.2f}"
        )
    CONSOLE.print(table)


def growth() -> None:
    """Time against the number of channel choices squared, and against the number of bit pairs."""
    request = make_request("any-bits", "mixed-7d0g")
    table = table_of("growth, mixed-7d0g", "channels", "channels squared", "pairs", "best of 3, s", "one bound, ms")
    for channels in (40, 80, 160, 320):
        step = 1280 // channels
        chosen = tuple(step * (number + 1) for number in range(channels))
        row(table, replace(request.space, channels=chosen), request.budgets)
    for widths in ((4, 5), (3, 4, 5), (3, 4, 5, 6), (2, 3, 4, 5, 6, 7, 8)):
        pairs = tuple(Bits(weight=w, activation=a) for w in widths for a in widths)
        space = replace(
            request.space,
            block_choices=tuple(map(Block.uniform, pairs)),
            pairs=dict.fromkeys(request.space.pairs, pairs),
            executed={**request.space.executed, **{(kind, pair): pair for kind in LayerCategory for pair in pairs}},
        )
        row(table, space, request.budgets)
    CONSOLE.print(table)


def row(table: Table, space: SearchSpace, budgets: Mapping[Budget, float]) -> None:
    solution, seconds = timed(space, budgets)
    problem = Problem.of(space, budgets)
    grid = ChannelGrid.of(problem)
    prices = Prices(multipliers=np.array(list(solution.certificate.multipliers.values())))
    bounds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        complete(problem, grid, prices)
        bounds.append(time.perf_counter() - began)
    channels, pairs = len(space.channels), len(space.block_choices)
    table.add_row(str(channels), str(channels**2), str(pairs), f"{seconds:.2f}", f"{min(bounds) * 1e3:.1f}")


def timed(space: SearchSpace, budgets: Mapping[Budget, float], repeats: int = REPEATS) -> tuple[Solution, float]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        solution = solve(Problem.of(space, budgets))
        seconds.append(time.perf_counter() - began)
    return solution, min(seconds)


def table_of(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


if __name__ == "__main__":
    main()
