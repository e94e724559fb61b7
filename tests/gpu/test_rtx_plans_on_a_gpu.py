"""TensorRT for RTX on a real GPU: what its plans compute, how they are timed, and that compiled kernels are kept."""

from __future__ import annotations

import numpy as np
import pytest

from qedeploy.bench.report.document import read_result
from qedeploy.errors import UserError
from qedeploy.export.compile import BuildChoice, build_artefact
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.profiles.loader import load_profile, profile_names
from qedeploy.qdq import simulation
from qedeploy.runtimes.nvidia.machine import probe
from qedeploy.runtimes.registry import find_runtime
from qedeploy.runtimes.runner import RunnerOptions
from qedeploy.runtimes.tensorrt_rtx.runtime import PRODUCT
from tests.cli.console import qedeploy
from tests.tensorrt_cpu.models import W4A16, structure

pytestmark = pytest.mark.gpu

STRUCTURES = {
    "W8A8": structure(channels=32, bottleneck=64, resolution=32),
    "W4A16": structure(
        expand=W4A16, project=W4A16, head=W4A16, classifier=W4A16, channels=64, bottleneck=256, resolution=32
    ),
}


@pytest.fixture(scope="module")
def profile() -> str:
    """The profile that compiles for the GPU of this machine."""
    try:
        _, gpu = probe(PRODUCT).require()
    except UserError as error:
        pytest.skip(str(error))
    fitting = [name for name in profile_names() if load_profile(name).target == gpu.capability]
    if not fitting:
        pytest.skip(f"no profile compiles for {gpu}")
    return fitting[0]


def built(folder, name, profile):
    path = folder / "model.pth"
    save_checkpoint(path, build(STRUCTURES[name], unsigned_activation_bits=7, seed=0), profile=profile, recipe={})
    result = export_checkpoint(path, settings=ExportSettings(images=4))
    return build_artefact(result, BuildChoice.REQUIRED, {"engine_batch": "4"})


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_plan_computes_what_its_lowering_says(name, profile, tmp_path):
    outcome = built(tmp_path, name, profile)
    images = outcome.export.prepared.images
    expected = simulation.logits(outcome.export.prepared.network, images).numpy()
    with find_runtime(PRODUCT.module).open(outcome.path, RunnerOptions(batch=4)) as runner:
        (found,) = runner.infer({runner.description.inputs[0].name: images.numpy()}).values()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_a_plan_is_measured_and_its_kernels_are_kept(profile, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = built(tmp_path, "W8A8", profile).path
    done = qedeploy("bench", plan, "--duration", "500ms")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "bench.json")
    assert result.runner.settings["cuda_graph"] == "on"
    assert list((tmp_path / "cache").rglob("tensorrt-rtx-*.cache"))
