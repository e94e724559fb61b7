"""The parts that `qedeploy measure` times, in TensorRT's own parser and builder."""

from __future__ import annotations

from itertools import islice

import pytest

from qedeploy.campaign import sampling
from qedeploy.export.benchmark_cases import neutral_bits, reference_case, write_graph
from qedeploy.runtimes.nvidia.engine import build_engine
from qedeploy.search.request import make_request
from tests.tensorrt_cpu.test_engine_builds import VERSION

REQUEST = make_request("t4-int4", resolution=64)
AROUND = neutral_bits(REQUEST.profile)
CASES = [
    reference_case(AROUND),
    sampling.stems(REQUEST.space, AROUND)[0],
    *sampling.tails(REQUEST.space, REQUEST.profile, AROUND)[2:4],
    *islice(sampling.blocks(REQUEST.space, REQUEST.budgets, REQUEST.profile, AROUND), 4),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.blocks) + f"-{case.key}")
def test_every_part_builds(case, tmp_path):
    onnx = write_graph(case, REQUEST.profile, tmp_path)
    engine = build_engine(onnx, tmp_path / "part.plan", version=VERSION, gpu=None, metadata=None)
    assert engine.plan.stat().st_size == engine.plan_bytes > 10_000
