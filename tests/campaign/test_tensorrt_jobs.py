"""A measurement job on a pretended GPU: engines are run in children and their layers joined to ours.

What the stand-ins are and are not is said in tests/bench/test_tensorrt_plans.py.
"""

from __future__ import annotations

import json

import pytest

from qedeploy.campaign import jobs
from qedeploy.campaign.jobs import Job, JobSettings, run_job
from qedeploy.export.benchmark_cases import BenchmarkCase
from qedeploy.profiles.loader import load_profile
from tests.runtimes.tensorrt.engines import engine, model, seconds
from tests.runtimes.tensorrt.test_plans import _pretended, driver, pytestmark  # noqa: F401


@pytest.mark.parametrize("generation", [10, 11])
def test_parts_of_an_engine_have_their_own_times(monkeypatch, tmp_path, generation):
    metadata = model()
    slow = "stage1.block1.depthwise"
    document = engine(metadata, generation=generation, slow=slow)

    def pretend(case, profile, folder):
        times = {name: value * 1e3 for name, value in seconds(document).items()}
        if case.blocks is not None:
            times = {name: 5 * value if slow in name else value for name, value in times.items()}
        plan = folder / f"{case.key}.plan"
        plan.write_text(json.dumps({"pretended plan": times, "inspector": document, "batch": (1, 1, 1)}))
        return plan

    monkeypatch.setattr(jobs, "write_case", pretend)
    part = BenchmarkCase(structure=metadata.structure, blocks=("stage1.block1",))
    whole = BenchmarkCase(structure=metadata.structure)
    settings = JobSettings(rounds=3, window=0.005)
    result = run_job(Job(cases=(part, whole), profile=load_profile("t4-int8"), settings=settings))
    assert result.failures == {}
    assert result.runtime["name"] == "TensorRT"
    assert result.runtime["device"].startswith("Pretended T4")
    by_key = {item.key: item for item in result.measured}
    parts = by_key[part.key].parts
    assert parts[slow] > 2 * parts["stage1.block1.expand"] > 0
    assert by_key[whole.key].parts == {}
    # The reference graph and the part have one slow layer, the whole network here has not.
    assert by_key[whole.key].ratio < by_key[part.key].ratio
