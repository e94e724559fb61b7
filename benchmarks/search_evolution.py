"""Evolution on the reference's two configurations: score reached and evaluations a second, for several seeds.

The last column counts processor seconds, which other processes on the machine do not take part in.
One process on one core: OMP_NUM_THREADS=1 python benchmarks/search_evolution.py [--seeds N] [--evaluations N]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

from rich.console import Console
from rich.table import Table

from qedeploy.search.evolution.evolution import EvolutionSettings
from qedeploy.search.evolution.solver import solve
from qedeploy.search.request import make_request
from qedeploy.search.score.kinds.qe_score import qe_score

PUBLISHED = {"mixed-7d0g": 1224.5, "mixed-19d2g": 1290.3}
"""Scores that the search must reach: those of the structures the reference published."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=500_000)
    arguments = parser.parse_args()
    table = Table(title=f"Evolution, {arguments.evaluations:,} evaluations, one process ({platform.machine()})")
    for heading in ("recipe", "goal", "lowest", "median", "lowest/s", "median/s", "per CPU s"):
        table.add_column(heading, justify="right")
    for recipe, published in PUBLISHED.items():
        request = make_request("any-bits", recipe)
        scores, rates, processor_rates = [], [], []
        for seed in range(arguments.seeds):
            settings = EvolutionSettings(seed=seed, evaluations=arguments.evaluations)
            began, processor_began = time.perf_counter(), time.process_time()
            result = solve(request.space, request.budgets, settings, start=request.recipe.start)
            rates.append(result.evaluations / (time.perf_counter() - began))
            processor_rates.append(result.evaluations / (time.process_time() - processor_began))
            scores.append(qe_score(result.structure, request.recipe.score))
        figures = [published, min(scores), statistics.median(scores)]
        speeds = [min(rates), statistics.median(rates), statistics.median(processor_rates)]
        table.add_row(recipe, *(f"{score:.2f}" for score in figures), *(f"{rate:,.0f}" for rate in speeds))
    Console().print(table)


if __name__ == "__main__":
    main()
