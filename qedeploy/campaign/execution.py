"""Running measurement jobs: in a process of their own here, or on the devices of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from qedeploy.campaign.jobs import Job, JobResult, run_job
from qedeploy.campaign.planner import Execute
from qedeploy.executors import open_workers, run_jobs
from qedeploy.profiles.profile import Profile


@contextmanager
def executing(profile: Profile, cluster: str | None) -> Iterator[Execute]:
    """Yield what runs jobs for `profile`: one process of this machine, or all devices of that name on `cluster`.

    Only one job at a time runs on a device, because two would disturb each other.
    """
    with open_workers(1, cluster, device=profile.name) as workers:

        def execute(jobs: Iterable[Job]) -> Iterator[tuple[Job, JobResult | None]]:
            for outcome in run_jobs(workers, run_job, jobs):
                yield outcome.job, outcome.result

        yield execute
