"""From the jobs that are done to what they say: medians over all rounds of a case, then a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qedeploy.campaign.jobs import JobResult, MeasuredCase
from qedeploy.export.benchmark_cases import BenchmarkCase
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import NetworkPoint, Source, TablePoint, spread
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure_file import to_document


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything measured so far, by case."""

    cases: dict[str, BenchmarkCase] = field(default_factory=dict)
    measured: dict[str, list[MeasuredCase]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    references: list[float] = field(default_factory=list)
    machine: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)

    def add(self, cases: Iterable[BenchmarkCase], result: JobResult) -> None:
        """Take in a finished job."""
        self.cases |= {case.key: case for case in cases}
        for item in result.measured:
            self.measured.setdefault(item.key, []).append(item)
        self.failures |= result.failures
        self.references.append(result.reference_seconds)
        self.machine, self.runtime = result.machine, result.runtime

    @property
    def reference_seconds(self) -> float:
        """The reference graph's usual time: the median over all jobs."""
        return float(np.median(self.references))

    def jobs_of(self, case: BenchmarkCase) -> int:
        """Return how many jobs have measured a case."""
        return len(self.measured.get(case.key, ()))

    def spread_of(self, case: BenchmarkCase) -> float:
        """Return half the interquartile range over the median of all rounds of a case that was measured."""
        return spread([ratio for item in self.measured[case.key] for ratio in item.ratios])

    def network(self, case: BenchmarkCase, reference_seconds: float) -> NetworkPoint | None:
        """Return a whole network where the reference graph takes `reference_seconds`, None if it was not measured."""
        items = self.measured.get(case.key)
        if not items:
            return None
        ratios = [ratio for item in items for ratio in item.ratios]
        return NetworkPoint(
            structure=to_document(case.structure),
            seconds=float(np.median(ratios)) * reference_seconds,
            spread=spread(ratios),
            rounds=len(ratios),
        )

    def networks(self) -> tuple[NetworkPoint, ...]:
        """Return every whole network that was measured."""
        whole = [case for case in self.cases.values() if case.blocks is None]
        found = [self.network(case, self.reference_seconds) for case in whole]
        return tuple(point for point in found if point is not None)

    def points(self, bottleneck_multiple: int) -> tuple[TablePoint, ...]:
        """Return the points of all fragments; a shape that several fragments contain has the median of them."""
        found: dict[Any, list[tuple[float, float, int]]] = {}
        for key, items in self.measured.items():
            case = self.cases[key]
            if case.blocks is None:
                continue
            ratios = [ratio for item in items for ratio in item.ratios]
            shapes = shapes_of(structure_graph(case.structure), bottleneck_multiple)
            for name, shape in shapes.items():
                if (name if name in case.blocks else name.rpartition(".")[0]) not in case.blocks:
                    continue
                seconds = float(np.median([item.parts[name] for item in items])) * self.reference_seconds
                if seconds > 0:
                    found.setdefault(shape, []).append((seconds, spread(ratios), len(ratios)))
        return tuple(
            TablePoint(
                shape=shape,
                seconds=float(np.median([row[0] for row in rows])),
                spread=float(np.median([row[1] for row in rows])),
                rounds=sum(row[2] for row in rows),
                source=Source.MEASURED,
            )
            for shape, rows in found.items()
        )
