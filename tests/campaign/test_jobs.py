"""Jobs on the real runtime: what is measured, and what is left out of it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from qedeploy.campaign.jobs import Job, JobSettings, inner_nodes, run_job
from qedeploy.export.benchmark_cases import (
    BenchmarkCase,
    BlockShape,
    block_case,
    neutral_bits,
    stem_case,
    tail_case,
    write_case,
)
from qedeploy.network.structure import Bits, Block, Classifier, Convolution
from qedeploy.profiles.loader import load_profile
from qedeploy.runtimes.node_names import ONNX_NAMES
from qedeploy.runtimes.runner import NodeTime, RunnerDescription
from qedeploy.runtimes.timing import Samples

PROFILE = load_profile("cpu-int8")
AROUND = neutral_bits(PROFILE)
QUICK = JobSettings(rounds=3, window=0.003)


def block(**changes):
    shape = BlockShape(
        in_channels=16, bottleneck=32, out_channels=16, kernel=3, stride=1, size=14, widths=Block.uniform(AROUND)
    )
    return block_case(dataclasses.replace(shape, **changes), AROUND)


STEM = stem_case(Convolution(out_channels=8, kernel=3, stride=2, bits=AROUND), 64, AROUND)
TAIL = tail_case(
    24, Convolution(out_channels=64, kernel=1, stride=1, bits=AROUND), Classifier(classes=10, bits=AROUND), 7, AROUND
)


def test_a_job_measures_its_cases_part_by_part():
    pooled = block(stride=2, size=28)
    narrow = block(widths=Block.uniform(Bits(weight=4, activation=4)), out_channels=24)
    network = BenchmarkCase(structure=STEM.structure)
    result = run_job(Job(cases=(block(), pooled, narrow, STEM, TAIL, network), profile=PROFILE, settings=QUICK))
    assert result.failures == {}
    assert result.reference_seconds > 0
    assert (result.runtime["name"], result.runtime["device"]) == ("ONNX Runtime", "CPU")
    by_key = {item.key: item for item in result.measured}
    plain = by_key[block().key]
    assert len(plain.ratios) == 3
    assert {name for name, seconds in plain.parts.items() if seconds > 0} == {
        "stage1.block1.expand", "stage1.block1.depthwise", "stage1.block1.project", "stage1.block1.shortcut",
    }  # fmt: skip
    # The cut edges are left out, so that the parts are less than the whole graph and most of it.
    assert 0.1 * plain.ratio < sum(plain.parts.values()) < plain.ratio
    assert by_key[pooled.key].parts["stage1.block1.shortcut"] > 0
    assert "stage1.block1.shortcut" not in by_key[narrow.key].parts
    assert {name for name, seconds in by_key[STEM.key].parts.items() if seconds > 0} == {"stem"}
    assert {name for name, seconds in by_key[TAIL.key].parts.items() if seconds > 0} == {"head", "classifier"}
    assert by_key[network.key].parts == {}


def test_what_the_runtime_does_not_run_fails_alone(monkeypatch):
    from qedeploy.campaign import jobs
    from qedeploy.errors import RequestError

    def refuse(case, profile, folder):
        if case == STEM:
            raise RequestError("no kernel for it")
        return write_case(case, profile, folder)

    monkeypatch.setattr(jobs, "write_case", refuse)
    result = run_job(Job(cases=(STEM, block()), profile=PROFILE, settings=QUICK))
    assert result.failures == {STEM.key: "no kernel for it"}
    assert [item.key for item in result.measured] == [block().key]


class Pretended:
    """A runner of known times: a reference graph that gets slower, anything else a hundred times as slow."""

    description = RunnerDescription(
        runtime="pretended", version="1", device="none", latency="", inputs=(), batch=1, threads=1, settings={}
    )

    def __init__(self, path):
        self.seconds = itertools.count(1) if "reference" in path.name else itertools.repeat(100)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def measure(self, _):
        return Samples(latency=np.array([float(next(self.seconds))]), elapsed=1.0)


def test_a_case_whose_key_looks_like_a_number_is_no_reference(monkeypatch, tmp_path):
    from qedeploy.campaign import jobs

    every = (BenchmarkCase(structure=block(bottleneck=channels).structure) for channels in itertools.count(8))
    case = next(case for case in every if case.key.isdigit())
    monkeypatch.setattr(jobs, "write_case", lambda given, *_: tmp_path / ("case" if given == case else "reference"))
    monkeypatch.setattr(jobs, "open_runner", lambda path, *_: Pretended(path))
    result = run_job(Job(cases=(case,), profile=PROFILE, settings=JobSettings(rounds=1)))
    assert result.reference_seconds == pytest.approx(1.5)
    assert result.measured[0].ratios == pytest.approx([100 / 1.5])


def node(name, op_type):
    return NodeTime(name=name, op_type=op_type, seconds=1.0)


@pytest.mark.parametrize(
    ("case", "kept"),
    [
        (block(), ["a", "clip", "b"]),
        (STEM, ["image", "in", "a", "clip", "middle", "b"]),
        (TAIL, ["a", "clip", "b", "out", "logits"]),
    ],
)
def test_the_edges_of_a_cut_are_left_out(case, kept):
    nodes = [
        node("image", "QuantizeLinear"), node("in", "Transpose"), node("a", "QLinearConv"), node("clip", "Clip"),
        node("middle", "Transpose"), node("b", "QLinearAdd"), node("out", "DequantizeLinear"),
        node("logits", "Identity"),
    ]  # fmt: skip
    assert [one.name for one in inner_nodes(nodes, case, ONNX_NAMES)] == kept


def test_equal_cases_share_a_key():
    assert block().key == block().key != block(kernel=5).key
    assert BenchmarkCase(structure=block().structure).key != block().key
