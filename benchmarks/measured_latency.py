"""How true measured latency is, and what searching on it gains: writes docs/measured/<profile>.md with its plots.

    python benchmarks/measured_latency.py --profile cpu-int8

Measures a latency table (unless --latency-table names one), correlates the estimates with whole networks that the table
was not fitted on, then searches under latency budgets and under BitOps budgets of equal measured time, and compares
what both find. A run that is stopped goes on where it was: measurements are kept in the work folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measured_page import Candidate, Pair, draw_searches, page, page_name

from qedeploy.campaign.correlation_analysis import CorrelationResult
from qedeploy.campaign.correlation_report import draw_scatter
from qedeploy.campaign.correlation_study import Question, answer
from qedeploy.campaign.execution import executing
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.journal import Journal
from qedeploy.campaign.networks import measure_networks
from qedeploy.campaign.planner import NETWORK_WINDOW, Campaign, Execute
from qedeploy.files import write_text
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable, read_table, write_table
from qedeploy.network.costs import structure_costs
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Structure
from qedeploy.search.costs.budget import Budget
from qedeploy.search.costs.budgets.counted import BITOPS, LAYERS
from qedeploy.search.costs.budgets.latency import LATENCY
from qedeploy.search.exact.search import search_exactly
from qedeploy.search.request import Request, make_request
from qedeploy.search.score.kinds.qe_score import qe_score
from qedeploy.units import format_count, format_duration

BUDGET_STEP = 1.5
CLOSE = 0.01
STEPS = 8
"""Bisections of a BitOps budget: enough for a hundredth of the range that they begin with."""


class Laboratory:
    """One machine with one table: searches, and measures what they find."""

    def __init__(self, request: Request, table: LatencyTable, execute: Execute, work: Path, threads: int) -> None:
        self.request, self.table, self.execute, self.work = request, table, execute, work
        self.model = LatencyModel(table, request.profile)
        self.threads = threads

    def search(self, kind: Budget, limit: float) -> Structure:
        """Return the optimum of the recipe's space under this one limit, and the layers its recipe allows."""
        overrides = {kind: limit}
        request = make_request(
            self.request.profile_argument, self.request.recipe.name, overrides, latency_table=self.work / "table.json"
        )
        budgets = {key: value for key, value in request.budgets.items() if key in {kind, LAYERS}}
        result, solution = search_exactly(_with_budgets(request, budgets))
        if solution.certificate.status != "optimal":
            raise SystemExit(f"the search under {kind}={limit:g} ended {solution.certificate.status}")
        return result.structure

    def measure(self, structures: Sequence[Structure], label: str) -> list[float]:
        """Return seconds at the table's speed, all measured in alternation."""
        unique = list(dict.fromkeys(structures))
        journal = Journal(self.work / f"{label}.jsonl", {"label": label, "networks": len(unique)})
        settings = JobSettings(threads=self.threads, window=NETWORK_WINDOW)
        found = measure_networks(unique, self.request.profile, settings, self.execute, journal=journal)
        reference = self.table.reference_seconds or found.reference_seconds
        seconds = {
            structure: math.nan if point is None else point.seconds * reference / found.reference_seconds
            for structure, point in zip(unique, found.points, strict=True)
        }
        return [seconds[structure] for structure in structures]

    def bitops_of_equal_time(self, seconds: float, label: str) -> tuple[Structure, float]:
        """Return what a BitOps search finds under the limit at which its measured time comes nearest to `seconds`."""
        start = structure_costs(self.search(LATENCY, seconds)).bitops
        low, high = start / 4, start * 4
        tried: list[tuple[float, Structure, float]] = []
        for step in range(STEPS):
            limit = math.sqrt(low * high)
            structure = self.search(BITOPS, limit)
            (took,) = self.measure([structure], f"{label}-{step}")
            tried.append((abs(took / seconds - 1), structure, limit))
            print(f"  bitops={format_count(limit)}: {format_duration(took)}", flush=True)
            if tried[-1][0] < CLOSE:
                break
            low, high = (limit, high) if took < seconds else (low, limit)
        _, structure, limit = min(tried, key=lambda item: item[0])
        return structure, limit


def main() -> None:
    arguments = _arguments()
    request = make_request(arguments.profile, arguments.recipe)
    work = arguments.work or Path("runs") / f"measured-{page_name(request, arguments)}"
    with executing(request.profile, None) as execute:
        table = _table(request, arguments, work, execute)
        write_table(work / "table.json", table)
        question = Question.of(
            arguments.profile,
            arguments.recipe,
            networks=arguments.networks,
            table=work / "table.json",
            threads=arguments.threads,
            seed=arguments.seed,
            cluster=None,
        )
        print("correlating", flush=True)
        correlation = answer(question, work, execute, lambda _what, _done, _total: None)
        laboratory = Laboratory(request, table, execute, work, arguments.threads)
        pairs = _pairs(laboratory, correlation, arguments.budgets)
    out = arguments.out
    name = page_name(request, arguments)
    draw_scatter(out / f"{name}-correlation.svg", correlation)
    draw_searches(out / f"{name}-searches.svg", pairs)
    path = write_text(out / f"{name}.md", page(request, table, correlation, pairs, arguments))
    print(f"written to {path}")


def _table(request: Request, arguments: argparse.Namespace, work: Path, execute: Execute) -> LatencyTable:
    if arguments.latency_table is not None:
        return read_table(arguments.latency_table)
    if (work / "table.json").exists():
        return read_table(work / "table.json")
    end = time.monotonic() + arguments.minutes * 60
    campaign = Campaign(
        request,
        JobSettings(threads=arguments.threads),
        journal=Journal(work / "measure.jsonl", {"threads": arguments.threads}),
        seed=arguments.seed,
        time_left=lambda: time.monotonic() < end,
        watch=lambda standing: print(f"\r  measuring: {standing}   ", end="", flush=True),
    )
    table = campaign.run(execute)
    print(flush=True)
    return table


def _pairs(laboratory: Laboratory, correlation: CorrelationResult, count: int) -> list[Pair]:
    seconds = sorted(network.seconds for network in correlation.networks)
    middle = float(np.median(seconds))
    budgets = [_round(middle * BUDGET_STEP ** (index - (count - 1) / 2)) for index in range(count)]
    drafts = []
    for number, budget in enumerate(budgets):
        print(f"latency={format_duration(budget)}", flush=True)
        fast = laboratory.search(LATENCY, budget)
        (took,) = laboratory.measure([fast], f"latency-{number}")
        few, limit = laboratory.bitops_of_equal_time(took, f"bitops-{number}")
        drafts.append((budget, fast, few, limit))
    print("measuring all of them together", flush=True)
    final = laboratory.measure([each for draft in drafts for each in draft[1:3]], "final")
    pairs = []
    for number, (budget, fast, few, limit) in enumerate(drafts):
        score = laboratory.request.space.score
        pairs.append(
            Pair(
                budget=budget,
                predicted=laboratory.model.seconds(structure_graph(fast)),
                by_latency=Candidate(
                    structure=fast, limit=budget, score=qe_score(fast, score), seconds=final[2 * number]
                ),
                by_bitops=Candidate(
                    structure=few, limit=limit, score=qe_score(few, score), seconds=final[2 * number + 1]
                ),
            )
        )
    return pairs


def _round(seconds: float) -> float:
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(seconds / step) * step


def _with_budgets(request: Request, budgets: dict[Budget, float]) -> Request:
    return dataclasses.replace(request, budgets=budgets)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="cpu-int8")
    parser.add_argument("--recipe")
    parser.add_argument("--minutes", type=float, default=10.0, help="time to measure the table")
    parser.add_argument("--networks", type=int, default=40, help="networks to correlate")
    parser.add_argument("--budgets", type=int, default=4, help="latency budgets to search under")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency-table", type=Path, help="a table measured already")
    parser.add_argument("--work", type=Path, help="folder that keeps measurements")
    parser.add_argument("--out", type=Path, default=Path("docs/measured"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
