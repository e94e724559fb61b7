"""The child processes and what they report of the GPU, without one."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from qedeploy.errors import MissingRuntimeError, UserError
from qedeploy.runtimes.nvidia.child import Child, ChildCrashedError, run_child
from qedeploy.runtimes.nvidia.cuda import open_cuda
from qedeploy.runtimes.nvidia.machine import probe
from qedeploy.runtimes.nvidia.nvml import GpuSample, GpuSampler, summarize

without_gpu = pytest.mark.skipif(probe().gpu is not None, reason="this machine has a GPU")

CHILD = """
import os, sys, time
from qedeploy.errors import RequestError
from qedeploy.runtimes.nvidia.child import serve
def answer(request, emit):
    os.write(1, b"native code prints where it likes\\n")
    emit({"event": "seen", "request": request})
    match request["do"]:
        case "raise": raise RequestError("cannot be done")
        case "fail": raise ValueError("of its own")
        case "abort": print("last words", file=sys.stderr, flush=True); os.abort()
        case "leave": os._exit(7)
    return {"answer": request["do"]}
serve(answer)
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    (tmp_path / "answering.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return "answering"


def test_a_child_answers_one_request_after_another(module):
    events = []
    with Child(module, subject="a.plan") as child:
        for word in ("one", "two"):
            assert child.ask({"do": word}, doing="testing", on_event=events.append) == {"answer": word}
    assert [event["request"]["do"] for event in events] == ["one", "two"]


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("raise", "^cannot be done$"),
        ("fail", "unexpected in the child process: ValueError: of its own"),
        ("abort", r"a\.plan: TensorRT crashed \(signal 6, SIGABRT\) while testing; its last words: last words"),
        ("leave", r"a\.plan: TensorRT ended without an answer \(exit status 7\) while testing"),
    ],
)
def test_what_goes_wrong_in_a_child_is_one_line(do, expected, module):
    kind = ChildCrashedError if do in {"abort", "leave"} else UserError
    with pytest.raises(kind, match=expected) as caught:
        run_child(module, {"do": do}, subject="a.plan", doing="testing")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_child_ends_with_its_parent(module):
    process = subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    time.sleep(0.1)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=30) == 0


@without_gpu
def test_a_machine_without_tensorrt_and_driver_says_both():
    machine = probe()
    with pytest.raises(MissingRuntimeError) as caught:
        machine.require()
    assert caught.value.exit_code == 4
    assert "pip install" in str(caught.value) or "NVIDIA" in str(caught.value)


@without_gpu
def test_cuda_is_missing_in_one_line():
    with pytest.raises(MissingRuntimeError, match=r"cuda-python|driver|GPU"):
        open_cuda(spin_wait=True)


def test_clocks_are_summed_up_with_what_held_them_down():
    samples = [
        GpuSample(sm_clock=clock, memory_clock=5001, temperature=60 + index, power=60.0 + index, reasons=reasons)
        for index, (clock, reasons) in enumerate([(1590, 0x1), (1200, 0x4), (900, 0x4 | 0x20), (1200, 0x4)])
    ]
    found = summarize(samples, sm_clock_limit=1590, power_limit=70.0, driver="580.1")
    assert (found.sm_clock_lowest, found.sm_clock_median, found.sm_clock_highest) == (900, 1200, 1590)
    assert found.temperature_highest == 63
    assert found.power_mean == pytest.approx(61.5)
    assert found.reasons == ("power cap (75% of the run)", "thermal slowdown (software) (25% of the run)")
    assert found.throttled


@without_gpu
def test_sampling_without_nvml_says_so():
    with GpuSampler() as sampler:
        pass
    assert sampler.conditions() is None
    assert "clocks were not sampled" in sampler.problem
