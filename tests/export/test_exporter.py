"""From a checkpoint on disk to a verified ONNX file on disk, and what must leave nothing behind."""

from __future__ import annotations

import dataclasses
import json
import resource

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from qedeploy.errors import RequestError, UserError
from qedeploy.export import exporter
from qedeploy.export.checkpoint_reader import read_network
from qedeploy.export.comparison import DifferenceError
from qedeploy.export.exporter import ExportSettings, export_checkpoint
from qedeploy.files import sha256
from qedeploy.model.build import build
from qedeploy.model.checkpoint import save_checkpoint
from qedeploy.model.network import layer_modules
from qedeploy.network.graph import structure_graph
from qedeploy.network.operations import consumers
from qedeploy.network.structure import Bits, Structure
from qedeploy.profiles.loader import load_profile
from qedeploy.qdq.lowering import require_signedness
from qedeploy.qdq.metadata import read_metadata
from qedeploy.qdq.plan import StepSource
from qedeploy.qdq.writer import write_model
from qedeploy.runtimes.onnxruntime.runtime import OnnxRuntime
from qedeploy.runtimes.onnxruntime.session import open_session
from qedeploy.runtimes.processor import Processor
from qedeploy.runtimes.registry import find_runtime
from tests.export.networks import small_structure


def trained_network(structure: Structure, *, seed: int = 0, unsigned: int = 8):
    """A network whose steps one training batch has set, with normalisation as if it had been trained for long."""
    network = build(structure, unsigned_activation_bits=unsigned, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in layer_modules(network).values():
            bn = getattr(module, "bn", None)
            if bn is not None:
                sign = torch.where(torch.rand(bn.weight.shape, generator=generator) < 0.3, -1.0, 1.0)
                bn.weight.copy_(sign * (0.5 + torch.rand(bn.weight.shape, generator=generator)))
                bn.bias.normal_(0.2, 0.3, generator=generator)
        shape = (16, structure.input_channels, structure.resolution, structure.resolution)
        network.train()
        for _ in range(3):
            network(torch.randn(shape, generator=generator))
    return network.eval()


def checkpoint(folder, structure=None, *, trained: bool = True, profile: str = "cpu-int8", unsigned: int = 8):
    structure = structure or small_structure()
    if trained:
        network = trained_network(structure, unsigned=unsigned)
    else:
        network = build(structure, unsigned_activation_bits=unsigned, seed=0)
    path = folder / "model.pth"
    save_checkpoint(path, network, profile=profile, recipe={})
    return path


def left_behind(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("bits", [Bits(weight=3, activation=5), Bits(weight=8, activation=8)])
def test_a_trained_network_computes_in_onnx_what_it_computed_in_training(tmp_path, bits):
    structure = small_structure(bits)
    path = checkpoint(tmp_path, structure)
    result = export_checkpoint(path)
    assert left_behind(tmp_path) == {"model.pth", "model.onnx", "model.export.json"}
    effects = {effect.name: effect for effect in result.effects}
    # The reference with training's own roundings is the training forward, but for sums on rounding boundaries.
    assert effects["folding into integer weights and biases"].logit_change < 0.05
    assert effects["everything together"].logit_change < 0.5
    assert {value.source for value in result.plan.values if value.reader} == {StepSource.TRAINED}
    network = trained_network(structure)
    for layer, module in zip(result.plan.layers, layer_modules(network).values(), strict=True):
        assert layer.input.step == module.activation_quantizer.step.item()
        assert layer.input.high == module.activation_quantizer.quant_max
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    found = open_session(result.model).run(None, {"image": images.numpy()})[0]
    with torch.no_grad():
        expected = network(images).numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_the_report_and_the_metadata_tell_what_was_done(tmp_path):
    path = checkpoint(tmp_path)
    result = export_checkpoint(path, out=tmp_path / "deeper" / "net.onnx")
    report = json.loads(result.report.read_text())
    assert result.report.name == "net.export.json"
    assert report["model"] == {"file": "net.onnx", "sha256": sha256(result.model)}
    assert report["checkpoint"]["sha256"] == sha256(path)
    assert len(report["verification"]["checks"]) == len(result.comparison.checks)
    assert read_metadata(result.model).plan == result.plan
    assert read_metadata(result.model).structure == small_structure()


def test_a_machine_whose_kernels_saturate_is_told_how_its_own_session_differs(tmp_path, monkeypatch):
    network = trained_network(small_structure(Bits(weight=8, activation=8)))
    with torch.no_grad():
        for module in layer_modules(network).values():
            module.weight_quantizer.step.mul_(0.1)  # Steps as they begin leave most of 8 bits unused.
    path = tmp_path / "model.pth"
    save_checkpoint(path, network, profile="cpu-int8", recipe={})
    here = export_checkpoint(path)
    haswell = Processor(architecture="x86_64", instruction_sets=("avx2",))
    monkeypatch.setattr("qedeploy.runtimes.processor.this_processor", lambda: haswell)
    there = export_checkpoint(path)
    assert there.model.read_bytes() == here.model.read_bytes()
    assert there.comparison.passed
    assert there.session.values == there.comparison.values
    assert "head" in there.products.inexact
    (told,) = (warning for warning in there.warnings if "session of your own" in warning)
    assert f"of {there.session.values:,} integers differ" in told
    assert "cpu-int8-avx2" in told
    report = json.loads(there.report.read_text())
    assert report["products"]["inexact"] == list(there.products.inexact)
    assert len(report["session"]["checks"]) == len(report["verification"]["checks"])
    with pytest.raises(RequestError, match="profile cpu-int8-avx2 has no W8A8 for stem layers"):
        export_checkpoint(path, settings=ExportSettings(profile="cpu-int8-avx2"))


def test_weights_of_seven_bits_are_verified_in_the_users_own_session(tmp_path, monkeypatch):
    seven = Bits(weight=7, activation=8)
    path = checkpoint(tmp_path, uniform_edges(small_structure(seven), seven), profile="cpu-int8-avx2")
    monkeypatch.setattr("qedeploy.runtimes.processor.this_processor", lambda: Processor(
        architecture="x86_64", instruction_sets=("avx2",)
    ))  # fmt: skip
    refuse = lambda *_: pytest.fail("exact kernels were asked for")  # noqa: E731
    plain = dataclasses.replace(find_runtime("onnxruntime").reference, exact=refuse)
    monkeypatch.setattr(OnnxRuntime, "reference", plain)
    result = export_checkpoint(path)
    assert (result.products.inexact, result.session) == ((), None)
    assert "exact for weights of at most 7 bits" in result.products.kernels


def uniform_edges(structure: Structure, bits: Bits) -> Structure:
    return dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=bits),
        classifier=dataclasses.replace(structure.classifier, bits=bits),
    )


def test_the_same_export_writes_the_same_bytes(tmp_path):
    path = checkpoint(tmp_path, trained=False)
    first = export_checkpoint(path).model.read_bytes()
    assert export_checkpoint(path).model.read_bytes() == first


def test_an_untrained_network_is_calibrated_on_random_data_with_a_warning(tmp_path):
    result = export_checkpoint(checkpoint(tmp_path, trained=False))
    assert {value.source for value in result.plan.values} == {StepSource.RANDOM}
    assert "never trained and are calibrated on random data" in result.warnings[0]


def test_photographs_calibrate_what_is_untrained_and_are_compared_end_to_end(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index, pixels in enumerate(load_sample_images().images):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    path = checkpoint(tmp_path, small_structure(resolution=32), trained=False)
    result = export_checkpoint(path, settings=ExportSettings(calibration=folder))
    assert {value.source for value in result.plan.values} == {StepSource.IMAGES}
    assert result.warnings == ("2 calibration images are few: the steps depend on what happens to be on them",)
    assert result.comparison.images == 2
    assert result.comparison.top1_agreement == 1.0


def test_the_lowest_integer_under_a_negative_gain_is_counted(tmp_path):
    structure = small_structure(Bits(weight=8, activation=8))
    network = trained_network(structure)
    module = layer_modules(network)["stage1.block1.project"]
    with torch.no_grad():
        module.bn.weight[0] = -1.0
        module.weight[0, 0] = -1000.0
        module.bn.weight[1] = 0.0
    path = tmp_path / "model.pth"
    save_checkpoint(path, network, profile="cpu-int8", recipe={})
    result = export_checkpoint(path)
    plan = next(layer for layer in result.plan.layers if layer.name == "stage1.block1.project")
    assert plan.clipped_weights >= 1
    assert plan.dead_channels == 1
    assert any("changed by one step" in warning for warning in result.warnings)


def test_profiles_that_cannot_carry_the_model(tmp_path):
    path = checkpoint(tmp_path, profile="any-bits")
    with pytest.raises(RequestError, match=r"any-bits is for search only.*cpu-int8"):
        export_checkpoint(path)
    assert export_checkpoint(path, settings=ExportSettings(profile="cpu-int8")).plan.profile == "cpu-int8"
    floating = small_structure(Bits(weight=16, activation=16))
    with pytest.raises(RequestError, match=r"stage1\.block1\.expand: profile cpu-int8 has no W16A16"):
        export_checkpoint(checkpoint(tmp_path, floating, profile="cpu-int8", trained=False))
    assert left_behind(tmp_path) == {"model.pth", "model.onnx", "model.export.json"}


def test_signedness_that_the_runtime_lacks():
    profile = dataclasses.replace(load_profile("cpu-int8"), unsigned_activation_bits=7)
    structure = small_structure(Bits(weight=8, activation=8))
    readers = consumers(structure_graph(structure).operations)
    with pytest.raises(RequestError, match=r"stage1\.block1\.expand: reads unsigned 8-bit activations"):
        require_signedness(read_network(trained_network(structure), "model.pth").grids, readers, profile)
    signed = read_network(trained_network(structure, unsigned=7), "model.pth")
    require_signedness(signed.grids, readers, profile)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    path = checkpoint(tmp_path)
    write = write_model

    def tampered(*arguments, **options):
        written = write(*arguments, **options)
        tensor = next(item for item in written.model.graph.initializer if item.name == "head.weight")
        weight = onnx.numpy_helper.to_array(tensor).copy()
        weight[:4] = -weight[:4]
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
        return written

    monkeypatch.setattr(exporter, "write_model", tampered)
    with pytest.raises(DifferenceError, match=r"^head: onnxruntime .* nothing was written$"):
        export_checkpoint(path)
    assert left_behind(tmp_path) == {"model.pth"}


def test_an_old_file_survives_a_failed_export(tmp_path):
    path = checkpoint(tmp_path, trained=False)
    (tmp_path / "model.onnx").write_text("old")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        export_checkpoint(path, settings=ExportSettings(calibration=tmp_path / "empty"))
    assert (tmp_path / "model.onnx").read_text() == "old"
    assert left_behind(tmp_path) == {"model.pth", "model.onnx", "empty"}


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = checkpoint(tmp_path, trained=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match=r"model\.onnx: cannot be written: File too large"):
            export_checkpoint(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_behind(tmp_path) == {"model.pth"}


def test_a_place_that_takes_no_file(tmp_path):
    path = checkpoint(tmp_path, trained=False)
    with pytest.raises(UserError, match="cannot be written"):
        export_checkpoint(path, out=path / "model.onnx")
    for name in ("model.pth", "other.pth", "folder"):
        with pytest.raises(UserError, match=rf"{name}: expected a file that ends in \.onnx"):
            export_checkpoint(path, out=path.with_name(name))


@pytest.mark.parametrize(
    ("shades", "asked", "warning"),
    [
        ([0], None, "1 of 1 calibration images have a single colour"),
        ([0, None, None], 16, "holds 3 images of the 16 asked for"),
        ([None, None], None, "2 calibration images are few"),
    ],
)
def test_images_that_say_little_are_warned_of(tmp_path, shades, asked, warning):
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for number, shade in enumerate(shades):
        pixels = noise.integers(0, 255, (40, 40, 3)) if shade is None else np.full((40, 40, 3), shade)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    result = export_checkpoint(
        checkpoint(tmp_path, trained=False), settings=ExportSettings(calibration=folder, images=asked)
    )
    assert any(warning in text for text in result.warnings), result.warnings


def test_weights_that_are_not_finite_are_named(tmp_path):
    network = trained_network(small_structure())
    layer_modules(network)["stage2.block1.depthwise"].bn.running_var[3] = -1.0
    with pytest.raises(UserError, match=r"model\.pth: stage2\.block1\.depthwise: normalisation: holds values"):
        read_network(network, "model.pth")
