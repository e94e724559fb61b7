"""A latency table from question to file: measure until the time is up, go on where an earlier run was, keep it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qedeploy.campaign.execution import executing
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.planner import Campaign, CampaignStanding
from qedeploy.campaign.storage import Storage
from qedeploy.files import writing
from qedeploy.latency.table import LatencyTable
from qedeploy.search.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTable:
    """A table and its file, None where it was not kept.

    `failures` are reasons why parts are missing; `interrupted` says that Ctrl-C ended it.
    """

    request: Request
    table: LatencyTable
    path: Path | None
    failures: tuple[str, ...]
    lost: int
    interrupted: bool


def measure_table(
    request: Request,
    settings: JobSettings,
    *,
    minutes: float,
    seed: int = 0,
    out: Path | None = None,
    keep: bool = True,
    fresh: bool = False,
    cluster: str | None = None,
    watch: Callable[[CampaignStanding], None] = lambda _: None,
) -> MeasuredTable:
    """Measure a table of the request's space for so many minutes, and write it to `out` or, to `keep`, the user's data.

    Jobs of earlier runs with the same settings count, unless `fresh`. Raises UserError for another measurement's file,
    RequestError where nothing can be measured, MissingRuntimeError without the runtime; KeyboardInterrupt where Ctrl-C
    came before the first job was done.
    """
    request.profile.require_runtime()
    if out is None and not keep:
        with TemporaryDirectory() as folder:
            measured = measure_table(
                request,
                settings,
                minutes=minutes,
                seed=seed,
                out=Path(folder) / "table.json",
                cluster=cluster,
                watch=watch,
            )
        return replace(measured, path=None)
    with ExitStack() as stack:
        execute = stack.enter_context(executing(request.profile, cluster))
        keeping = Storage.of(request, settings, seed=seed, out=out, cluster=cluster, fresh=fresh)
        stack.enter_context(writing(keeping.journal.path))
        if fresh:
            keeping.journal.remove()
        end = time.monotonic() + minutes * 60
        campaign = Campaign(
            request,
            settings,
            journal=keeping.journal,
            seed=seed,
            time_left=lambda: time.monotonic() < end,
            watch=watch,
        )
        interrupted = False
        try:
            table = campaign.run(execute)
        except KeyboardInterrupt:
            if not campaign.results.references:
                raise
            interrupted, table = True, campaign.table()
        table, path = keeping.keep(table, request.profile, fresh=fresh)
    return MeasuredTable(
        request=request,
        table=table,
        path=path,
        failures=tuple(campaign.results.failures.values()),
        lost=campaign.lost,
        interrupted=interrupted,
    )
