"""Measuring on a real cluster of two workers, one of which is killed on the way."""

from __future__ import annotations

import os
import signal

import pytest
from distributed import Client, LocalCluster

from qedeploy.campaign.execution import executing
from qedeploy.campaign.jobs import JobSettings
from qedeploy.campaign.journal import Journal
from qedeploy.campaign.planner import Campaign
from qedeploy.latency.table import Part
from tests.campaign.test_planner import REQUEST


def process_id():
    return os.getpid()


@pytest.mark.slow
def test_a_table_is_measured_by_two_devices_one_of_which_dies(tmp_path):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, resources={"cpu-int8": 1}, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        victims = sorted(client.run(process_id).values())
        jobs = []

        def watch(_standing):
            jobs.append(len(jobs))
            if len(jobs) == 2:
                os.kill(victims[0], signal.SIGKILL)

        campaign = Campaign(
            REQUEST,
            JobSettings(rounds=3, window=0.002),
            journal=Journal(tmp_path / "j.jsonl", {}),
            time_left=lambda: False,
            watch=watch,
        )
        with executing(REQUEST.profile, cluster.scheduler_address) as execute:
            table = campaign.run(execute)
        assert victims[0] not in client.run(process_id).values()
    assert campaign.lost == 0
    assert len(jobs) >= 7
    assert {point.shape.part for point in table.points} == set(Part)
    assert table.calibration.networks == 8
