"""A whole measurement of a device that follows a law: what comes first, what is kept, and how true the table is."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.campaign import sampling
from qedeploy.campaign.jobs import JobResult, JobSettings, MeasuredCase
from qedeploy.campaign.journal import Journal
from qedeploy.campaign.planner import FRAGMENTS_PER_JOB, NETWORK_WINDOW, NETWORKS_PER_JOB, Campaign
from qedeploy.errors import RequestError
from qedeploy.export.benchmark_cases import neutral_bits
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.shapes import shapes_of
from qedeploy.latency.table import Part
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure_file import from_document, to_document
from qedeploy.search.request import make_request
from tests.latency.laws import law

REQUEST = make_request("cpu-int8")
REFERENCE = 1.3e-4


class Device:
    """Answers jobs by the law; networks take a fifth more than their parts, and half a millisecond."""

    def __init__(self, noise=0.0, lose=(), fail=()):
        self.random = np.random.default_rng(0)
        self.noise, self.lose, self.fail = noise, set(lose), set(fail)
        self.jobs = []

    def seconds(self, structure):
        return 5e-4 + 1.2 * sum(map(law, shapes_of(structure_graph(structure), 16).values()))

    def execute(self, jobs):
        for job in jobs:
            number = len(self.jobs)
            self.jobs.append(job)
            yield job, None if number in self.lose else self.answer(job, number)

    def answer(self, job, number):
        measured = [self.measured(case) for case in job.cases]
        failures = {}
        if number in self.fail:
            measured, failures = [], {case.key: "no kernel" for case in job.cases}
        return JobResult(
            measured=tuple(measured), failures=failures, reference_seconds=REFERENCE,
            machine={"cpu": "a law"}, runtime={"name": "none", "version": "0", "device": "CPU"},
        )  # fmt: skip

    def measured(self, case):
        parts = {name: law(shape) / REFERENCE for name, shape in shapes_of(structure_graph(case.structure), 16).items()}
        if case.blocks is None:
            whole, parts = self.seconds(case.structure) / REFERENCE, {}
        else:
            parts = {
                name: seconds
                for name, seconds in parts.items()
                if name in case.blocks or name.rpartition(".")[0] in case.blocks
            }
            whole = sum(parts.values())
        factors = np.exp(self.random.normal(0, self.noise, 5))
        middle = float(np.median(factors))
        return MeasuredCase(
            key=case.key,
            ratios=tuple((whole * factors).tolist()),
            parts={name: seconds * middle for name, seconds in parts.items()},
        )


def campaign(tmp_path, jobs, name="j.jsonl", **changes):
    left = iter(range(jobs))
    given = {"time_left": lambda: next(left, None) is not None, **changes}
    return Campaign(REQUEST, JobSettings(), journal=Journal(tmp_path / name, {}), **given)


def test_a_table_of_a_noisy_device_predicts_networks_it_has_not_seen(tmp_path):
    device = Device(noise=0.03)
    table = campaign(tmp_path, 30).run(device.execute)
    model = LatencyModel(table, REQUEST.profile)
    known = [network.structure for network in table.networks]
    stream = sampling.networks(REQUEST.space, REQUEST.budgets, REQUEST.profile, seed=99)
    unseen = [one for one in (next(stream) for _ in range(30)) if to_document(one) not in known]
    missed = [abs(model.seconds(structure_graph(one)) / device.seconds(one) - 1) for one in unseen]
    assert np.mean(missed) < 0.05
    assert table.calibration.scale == pytest.approx(1.2, rel=0.1)
    assert table.calibration.error < 0.05
    assert table.reference_seconds == REFERENCE
    assert (table.device, table.bottleneck_multiple, table.recipes) == ("a law", 16, ("k1dwk1-224",))


def test_a_few_jobs_already_cover_every_part(tmp_path):
    device = Device()
    table = campaign(tmp_path, 0).run(device.execute)
    assert {point.shape.part for point in table.points} == set(Part)
    assert table.calibration.networks >= NETWORKS_PER_JOB
    structure = next(sampling.networks(REQUEST.space, REQUEST.budgets, REQUEST.profile, seed=5))
    predicted = LatencyModel(table, REQUEST.profile).seconds(structure_graph(structure))
    assert predicted == pytest.approx(device.seconds(structure), rel=0.4)


def test_networks_and_parts_have_jobs_and_windows_of_their_own(tmp_path):
    device = Device()
    campaign(tmp_path, 16).run(device.execute)
    for job in device.jobs:
        whole = {case.blocks is None for case in job.cases}
        assert len(whole) == 1
        assert job.settings.window == (NETWORK_WINDOW if whole == {True} else JobSettings().window)
        assert len(job.cases) <= (NETWORKS_PER_JOB if whole == {True} else FRAGMENTS_PER_JOB)


def test_what_the_search_would_choose_is_measured_as_well(tmp_path):
    table = campaign(tmp_path, 16).run(Device().execute)
    seconds = [network.seconds for network in table.networks]
    stream = sampling.networks(REQUEST.space, REQUEST.budgets, REQUEST.profile)
    drawn = [to_document(next(stream)) for _ in seconds]
    searched = [network for network in table.networks if network.structure not in drawn]
    assert searched
    for network in searched:
        assert network.seconds <= 1.2 * max(seconds)
        blocks = sampling.blocks_of([from_document(network.structure, "test")], neutral_bits(REQUEST.profile))
        assert len(blocks) > 5


def test_a_second_run_goes_on_where_the_first_was_stopped(tmp_path):
    first, second = Device(), Device()
    before = campaign(tmp_path, 3).run(first.execute)
    after = campaign(tmp_path, 3).run(second.execute)
    assert len(second.jobs) == 3
    known = {case.key for job in first.jobs for case in job.cases}
    assert not known & {case.key for job in second.jobs for case in job.cases}
    assert {point.shape for point in before.points} < {point.shape for point in after.points}
    assert len(after.networks) >= len(before.networks)


def test_lost_jobs_cost_themselves_only(tmp_path):
    device = Device(lose={1, 4})
    run = campaign(tmp_path, 6)
    table = run.run(device.execute)
    assert run.lost == 2
    assert {point.shape.part for point in table.points} >= {Part.POINTWISE, Part.DEPTHWISE}


def test_what_fails_is_not_tried_again(tmp_path):
    device = Device(fail={3})
    run = campaign(tmp_path, 16)
    run.run(device.execute)
    failed = {case.key for case in device.jobs[3].cases}
    assert set(run.results.failures) == failed
    assert not failed & {case.key for job in device.jobs[4:] for case in job.cases}


def test_nothing_measured_is_an_error_with_the_reason(tmp_path):
    every = range(20)
    with pytest.raises(RequestError, match="nothing could be measured: no kernel"):
        campaign(tmp_path, 0).run(Device(fail=every).execute)
    with pytest.raises(RequestError, match="nothing could be measured: no job came back"):
        campaign(tmp_path, 0, "b.jsonl").run(Device(lose=every).execute)


def test_points_that_disagree_with_themselves_are_marked_and_measured_again(tmp_path):
    device = Device(noise=0.3)
    table = campaign(tmp_path, 16).run(device.execute)
    assert any(point.unstable for point in table.points)
    keys = [case.key for job in device.jobs for case in job.cases]
    assert len(keys) > len(set(keys))


def test_a_run_with_the_opening_in_its_journal_adds_a_job_however_little_time_is_left(tmp_path):
    first, second = Device(), Device()
    campaign(tmp_path, 0).run(first.execute)
    known = campaign(tmp_path, 0).run(second.execute)
    assert len(second.jobs) == 1
    assert second.jobs[0] not in first.jobs
    assert len(known.points) > 0
