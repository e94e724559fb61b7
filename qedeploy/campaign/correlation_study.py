"""A correlation from question to result: draw the networks, measure them, compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from qedeploy.campaign.correlation_analysis import CorrelationResult, correlated
from qedeploy.campaign.correlation_report import write_correlation
from qedeploy.campaign.execution import executing
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.journal import Journal
from qedeploy.campaign.network_sampling import draw_networks
from qedeploy.campaign.networks import PASSES, measure_networks
from qedeploy.campaign.planner import NETWORK_WINDOW, Execute
from qedeploy.errors import Interrupted
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.store import load_table
from qedeploy.latency.table import LatencyTable, to_text
from qedeploy.network.structure_file import from_document
from qedeploy.search.request import Request, make_request
from qedeploy.search.result import run_folder

JOURNAL_FILE = "correlation.measurements.jsonl"

Watch = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a request's space, how many networks, and the table to try, if there is one."""

    request: Request
    networks: int
    threads: int
    seed: int
    machine: str
    table: LatencyTable | None = None
    table_name: str = ""

    @classmethod
    def of(
        cls,
        profile: str,
        recipe: str | None,
        *,
        networks: int,
        table: Path | None,
        threads: int,
        seed: int,
        cluster: str | None,
    ) -> Self:
        """Return the question; raises UserError for what cannot be read, RequestError for a profile without runtime."""
        from qedeploy.bench.measure.machine import describe_machine

        request = make_request(profile, recipe)
        request.profile.require_runtime()
        found = load_table(request.profile, table)
        return cls(
            request=request,
            networks=networks,
            threads=threads,
            seed=seed,
            machine=cluster or describe_machine().cpu,
            table=found[0] if found else None,
            table_name=found[1].name if found else "",
        )

    @property
    def model(self) -> LatencyModel | None:
        """The table's model, None without a table."""
        return None if self.table is None else LatencyModel(self.table, self.request.profile)

    def document(self) -> dict[str, Any]:
        """Return what decides the networks and how they are measured, as JSON-ready data."""
        table = None
        if self.table is not None:
            digest = hashlib.sha256(to_text(self.table).encode()).hexdigest()
            table = {"name": self.table_name, "sha256": digest, "device": self.table.device, "date": self.table.date}
        asked = self.request.document()
        return {
            **{key: asked[key] for key in ("qedeploy", "profile", "recipe", "budgets")},
            "settings": {
                "networks": self.networks,
                "threads": self.threads,
                "seed": self.seed,
                "passes": PASSES,
                "seconds_per_round": NETWORK_WINDOW,
                "rounds_per_pass": JobSettings().rounds,
                "batch": 1,
            },
            "latency_table": table,
        }

    def folder(self, out: Path | None) -> Path:
        """Return `out`, or for None a folder below runs/ that the same question leads to again."""
        return run_folder(f"{self.request.profile.name}-correlation", self.document(), out)

    def journal(self, folder: Path) -> Journal:
        """Return where the measurements are kept until all are done."""
        settings = {**self.document(), "machine": self.machine}
        return Journal(folder / JOURNAL_FILE, settings, mend="name another --out")


def answer(question: Question, folder: Path, execute: Execute, watch: Watch) -> CorrelationResult:
    """Draw, measure and compare; what the journal in `folder` holds counts as measured.

    Raises RequestError where the space has too few networks, or too few of them could be measured.
    """
    request, table, model = question.request, question.table, question.model
    fitted = [] if table is None else [from_document(one.structure, question.table_name) for one in table.networks]
    drawn = draw_networks(
        request,
        question.networks,
        seed=question.seed,
        model=model,
        excluded=fitted,
        progress=lambda done: watch("drawing", done, question.networks),
    )
    measured = measure_networks(
        [network.structure for network in drawn],
        request.profile,
        JobSettings(threads=question.threads, window=NETWORK_WINDOW),
        execute,
        journal=question.journal(folder),
        watch=lambda done, total: watch("measuring", done, total),
    )
    return correlated(drawn, measured, request.profile, model, seed=question.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationStudy:
    """What was asked, what was found, and the files that say so, if any were written."""

    question: Question
    result: CorrelationResult
    written: tuple[Path, ...] = ()


def study(
    question: Question,
    folder: Path | None,
    *,
    cluster: str | None = None,
    watch: Watch = lambda _what, _done, _total: None,
) -> CorrelationStudy:
    """Answer a question, here or on the devices of `cluster`, and write the answer into `folder`, if one is given.

    Raises what `answer` raises; Interrupted on Ctrl-C where the folder keeps what was measured until then.
    """
    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(TemporaryDirectory()))
        journal = question.journal(kept)
        execute = stack.enter_context(executing(question.request.profile, cluster))
        try:
            result = answer(question, kept, execute, watch)
        except KeyboardInterrupt as stop:
            if folder is None or not journal.path.exists():
                raise
            raise Interrupted(f"{folder} keeps what was measured; the same command goes on") from stop
    if folder is None:
        return CorrelationStudy(question=question, result=result)
    written = write_correlation(folder, result, question.document())
    journal.remove()
    return CorrelationStudy(question=question, result=result, written=written)
