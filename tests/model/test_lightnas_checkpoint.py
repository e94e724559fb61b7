"""Checkpoints of the reference: the imported network computes what an independent reference computes."""

from __future__ import annotations

import argparse
import copy
import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from qedeploy.errors import UserError
from qedeploy.model.foreign_state import Weights
from qedeploy.model.lightnas_checkpoint import network_from_reference, read_reference_state
from qedeploy.model.network import signed_activations
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks
from tests.model.reference_network import ReferenceNetwork, randomise


def stage(read: int, out: int, middle: int, kernel: int, stride: int, widths: list[tuple[int, int]]) -> dict:
    return {
        "class": "SuperQuantResK1DWK1", "in": read, "out": out, "btn": middle, "k": kernel, "s": stride,
        "L": len(widths), "inner_class": "ResK1DWK1",
        "nbitsW": [weight for weight, _ in widths for _ in range(3)],
        "nbitsA": [activation for _, activation in widths for _ in range(3)],
    }  # fmt: skip


def convolution(read: int, out: int, kernel: int, stride: int, weight: int, activation: int) -> dict:
    return {
        "class": "ConvKXBNRELU", "in": read, "out": out, "k": kernel, "s": stride, "nbitsW": weight,
        "nbitsA": activation,
    }  # fmt: skip


SMALL = [
    convolution(3, 16, 3, 2, 8, 8),
    stage(16, 16, 24, 5, 2, [(5, 4), (3, 6)]),  # a pooled residual, then a plain one
    stage(16, 24, 40, 3, 1, [(4, 4)]),
    stage(24, 24, 48, 3, 2, [(6, 3), (2, 2), (8, 8)]),  # another pooled one
    convolution(24, 48, 1, 1, 5, 5),
]
PLAIN = [convolution(1, 8, 5, 1, 7, 7), stage(8, 16, 16, 3, 2, [(4, 5)]), convolution(16, 32, 3, 1, 3, 3)]


def reference(blocks: list[dict], classes: int = 10, dtype: torch.dtype = torch.float32) -> ReferenceNetwork:
    return randomise(ReferenceNetwork(blocks, classes), seed=7, dtype=dtype)


def images(blocks: list[dict], size: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, blocks[0]["in"], size, size, generator=generator).to(dtype)


@pytest.fixture(params=["small", "plain", "mixed7d0G"])
def blocks(request, named_golden) -> list[dict]:
    return {"small": SMALL, "plain": PLAIN}.get(request.param) or named_golden[request.param]["structure"]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_imported_network_computes_what_the_reference_computes(blocks, dtype, tolerance):
    ours = reference(blocks, dtype=torch.float64)
    network = network_from_reference(from_blocks(blocks), ours.state_dict(), "test")
    # float64 holds what float32 does, so the same values go in whatever the precision of the computation.
    ours = ours.float().to(dtype)
    batch = images(blocks, 32, dtype)
    with torch.no_grad():
        expected, found = ours(batch), network.to(dtype)(batch)
    assert float(expected.std()) > 0.01
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def test_every_activation_is_signed_and_every_step_trained():
    network = network_from_reference(from_blocks(SMALL), reference(SMALL).state_dict(), "test")
    names = [layer.name for layer in expand_layers(network.structure)]
    assert list(signed_activations(network)) == names
    flags = {name: bool(value) for name, value in network.state_dict().items() if name.endswith("initialized")}
    assert len(flags) == 2 * len(names)
    assert all(flags.values())
    assert not network.training


@torch.no_grad()
def test_negative_weight_steps_are_taken_over_exactly():
    ours = reference(SMALL, dtype=torch.float64)
    for name, module in ours.named_modules():
        if hasattr(module, "weight_quan") and "fc_linear" not in name:
            module.weight_quan.s[::3] *= -1
            # Both ends of the range, which a negative step swaps and which are not each other's opposites.
            module.weight[::3].mul_(4.0)
    network = network_from_reference(from_blocks(SMALL), ours.state_dict(), "test")
    batch = images(SMALL, 32, torch.float64)
    ours = ours.float().double()
    expected, found = ours(batch), network.double()(batch)
    assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())
    assert all(bool((value > 0).all()) for name, value in network.state_dict().items() if name.endswith(".step"))


@pytest.mark.parametrize("classes", [1, 7, 1000])
def test_the_classifier_has_the_checkpoint_s_classes_and_8_bits(classes):
    network = network_from_reference(from_blocks(PLAIN), reference(PLAIN, classes).state_dict(), "test")
    assert network.structure.classifier.classes == classes
    assert str(network.structure.classifier.bits) == "W8A8"


def save(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def training_file(state: dict) -> dict:
    """What the reference's training writes: more than weights, all of it plain."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, nesterov=True)
    parameter.grad = torch.ones(2)
    optimizer.step()
    return {
        "epoch": 239,
        "arch": "zennas",
        "state_dict": state,
        "best_acc1": torch.tensor([70.766]),
        "optimizer": optimizer.state_dict(),
    }


@pytest.mark.parametrize("form", ["bare", "training", "wrapped", "legacy", "half"])
def test_every_form_of_the_file_gives_the_same_state(form, tmp_path):
    state = reference(PLAIN).state_dict()
    contents = {
        "bare": state,
        "training": training_file(state),
        "wrapped": training_file({f"module.{key}": value for key, value in state.items()}),
        "legacy": training_file(state),
        "half": {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
    }
    path = save(tmp_path / "x.pth.tar", contents[form], _use_new_zipfile_serialization=form != "legacy")
    found = read_reference_state(path).tensors
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert torch.allclose(found[key].to(value.dtype), value, rtol=1e-3, atol=1e-3)
    network_from_reference(from_blocks(PLAIN), found, path)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("extra", ["namespace", "numpy", "payload"])
def test_python_objects_are_named_and_never_loaded(extra, tmp_path):
    pwned = tmp_path / "pwned"
    objects = {"namespace": argparse.Namespace(lr=0.4), "numpy": np.float64(70.8), "payload": Payload(pwned)}
    names = {"namespace": "argparse.Namespace", "numpy": "scalar", "payload": "Path.touch"}
    content = {"state_dict": reference(PLAIN).state_dict(), "extra": objects[extra]}
    path = save(tmp_path / "quant_238.pth.tar", content)
    with pytest.raises(UserError) as caught:
        read_reference_state(path)
    message = str(caught.value)
    assert names[extra] in message or extra == "payload"
    assert "weights_only=False" in message
    assert "quant_238.weights.pth" in message
    assert "\n" not in message
    assert not pwned.exists()


@pytest.mark.parametrize("form", ["arguments", "module"])
def test_the_conversion_that_a_refusal_names_works(form, tmp_path):
    network = reference(PLAIN)
    state = network.state_dict()
    content = network if form == "module" else {"state_dict": state, "args": argparse.Namespace(lr=0.4)}
    path = save(tmp_path / "a.pth.tar", content)
    with pytest.raises(UserError) as caught:
        read_reference_state(path)
    code = str(caught.value).partition('python -c "')[2].partition('" and import')[0]
    exec(code)
    assert read_reference_state(tmp_path / "a.weights.pth").tensors.keys() == state.keys()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "found an empty file"),
        (b"hello", "expected a PyTorch checkpoint .* found text"),
        (b"PK\x03\x04", "a zip archive that was cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer .*run `git lfs pull`"),
        (b"\x80\x02}q", "a Python pickle that torch.save did not write, or one that was cut short"),
        (b"<!doctype html><title>Sign in</title>", "an HTML document: a page was saved"),
        (gzip.compress(b"weights", mtime=0), "a gzip archive: unpack it first"),
        (b"a" * 257 + b"ustar\x0000" + b"\0" * 200, "a tar archive: unpack it first"),
        (b"\x08\x0a\x12\x07pytorch", "found an ONNX model"),
        (b"\x10\0\0\0\0\0\0\0{'a': ", "a safetensors file that was cut short"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(content, reason, tmp_path):
    path = tmp_path / "x.pth.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_reference_state(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_one_line(tmp_path):
    path = save(tmp_path / "x.pth.tar", reference(PLAIN).state_dict())
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UserError, match="cut short"):
        read_reference_state(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, torch.zeros(3)])
def test_a_file_without_weights_is_one_line(content, tmp_path):
    with pytest.raises(UserError, match="expected a state_dict of tensors, found"):
        read_reference_state(save(tmp_path / "x.pth", content))


def test_missing_unexpected_and_wrongly_shaped_keys_are_named_at_once():
    state = dict(reference(SMALL).state_dict())
    del state["block_list.1.block_list.0.conv2.conv1.act_quan.s"], state["fc_linear.bias"]
    state["block_list.2.block_list.0.se.weight"] = torch.zeros(1)
    state["block_list.4.bn1.running_mean"] = torch.zeros(3)
    with pytest.raises(UserError) as caught:
        network_from_reference(from_blocks(SMALL), state, "x.pth.tar")
    message = str(caught.value)
    assert message.startswith("x.pth.tar: does not fit the structure: missing ")
    assert "block_list.1.block_list.0.conv2.conv1.act_quan.s, fc_linear.bias" in message
    assert "unexpected block_list.2.block_list.0.se.weight" in message
    assert "wrong shape: block_list.4.bn1.running_mean (3,), expected (48,)" in message


def test_derived_buffers_may_hold_anything_or_be_missing():
    state = dict(reference(PLAIN).state_dict())
    expected = network_from_reference(from_blocks(PLAIN), state, "x").state_dict()
    bare = {key: value for key, value in state.items() if not key.endswith(("weightq", "alpha", "scalar", "tracked"))}
    found = network_from_reference(from_blocks(PLAIN), bare, "x").state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected if not key.endswith("tracked"))
    with pytest.raises(UserError, match=r"unexpected block_list\.9\.conv1\.alpha"):
        network_from_reference(from_blocks(PLAIN), state | {"block_list.9.conv1.alpha": torch.ones(1)}, "x")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("block_list.0.conv1.weight", float("nan"), "holds NaN or infinity"),
        ("block_list.2.conv1.act_quan.s", -0.5, "holds a step of -0.5"),
        ("block_list.1.block_list.0.conv1.conv1.weight_quan.s", 0.0, "holds a step of 0"),
        ("fc_linear.weight_quan.s", -0.25, "holds a step of -0.25"),
        ("block_list.1.block_list.0.conv3.bn1.running_var", -1.0, "holds a variance of -1"),
    ],
)
def test_values_that_no_training_leaves_are_named(key, value, reason):
    state = copy.deepcopy(dict(reference(PLAIN).state_dict()))
    state[key].view(-1)[0] = value
    with pytest.raises(UserError, match=reason) as caught:
        network_from_reference(from_blocks(PLAIN), state, "x.pth.tar")
    assert key in str(caught.value)


def test_another_model_s_checkpoint_is_refused(named_golden):
    with pytest.raises(UserError, match=r"does not fit the structure: missing .* and \d+ more"):
        network_from_reference(
            from_blocks(named_golden["mixed19d2G"]["structure"]), reference(PLAIN).state_dict(), "x.pth.tar"
        )


def under(prefix: str, state: dict) -> dict:
    return {f"{prefix}{key}": value for key, value in state.items()}


def averaged(state: dict) -> dict:
    return {key: value * 2 if value.is_floating_point() else value for key, value in state.items()}


STATE = dict(reference(PLAIN).state_dict())
MEAN = averaged(STATE)
LIGHTNING = under("model.", STATE) | {"criterion.weight": torch.ones(3), "train_acc.total": torch.tensor(3)}


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"state_dict": under("module._orig_mod.", STATE)}, "`module._orig_mod.` taken off the keys"),
        (under("_orig_mod.", STATE), "`_orig_mod.` taken off"),
        (under("module.module.", STATE), "`module.module.` taken off"),
        (under("module.", STATE) | {"n_averaged": torch.tensor(7)}, "`module.` taken off"),
        (STATE | {"n_averaged": torch.tensor(7)}, None),
        ({"epoch": 3, "model": STATE, "optimizer": {}}, "weights of model"),
        ({"model": {"state_dict": under("module.", STATE)}}, "weights of model.state_dict"),
        ({"module": STATE, "global_steps": 3}, "weights of module"),
        ({"state_dict": LIGHTNING, "hyper_parameters": {}}, "left out what is beside it: criterion.weight, train_acc"),
        ({"state_dict": under("net.backbone.", STATE)}, "`net.backbone.` taken off"),
    ],
)
def test_containers_and_wrappers_are_taken_off_and_said(tmp_path, content, note):
    found = read_reference_state(save(tmp_path / "x.pth", content))
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.equal(found.tensors[key], STATE[key]) for key in STATE)
    assert note is None or any(note in said for said in found.notes), found.notes
    network_from_reference(from_blocks(PLAIN), found.tensors, "x")


@pytest.mark.parametrize(
    ("content", "weights", "expected", "note"),
    [
        ({"state_dict": STATE, "state_dict_ema": MEAN}, "auto", STATE, "lie under state_dict_ema: --weights ema"),
        ({"state_dict": STATE, "state_dict_ema": MEAN}, "ema", MEAN, "averaged weights (EMA) of state_dict_ema"),
        ({"epoch": 3, "state_dict_ema": under("module.", MEAN)}, "auto", MEAN, "there are no others"),
        ({"model": STATE, "model_ema": {"module": MEAN, "decay": 0.9}}, "ema", MEAN, "of model_ema.module"),
        ({"model": STATE, "model_ema": MEAN}, "last", STATE, "weights of model"),
        ({"state_dict": under("model.", STATE) | under("ema_model.module.", MEAN)}, "auto", STATE, "`model.`"),
        ({"state_dict": under("model.", STATE) | under("ema_model.module.", MEAN)}, "ema", MEAN, "`ema_model.module.`"),
        (STATE | under("ema.", MEAN), "auto", STATE, "left out what is beside it: ema.block_list"),
    ],
)
def test_weights_or_their_average_is_a_choice_that_is_said(tmp_path, content, weights, expected, note):
    found = read_reference_state(save(tmp_path / "x.pth", content), Weights(weights))
    assert found.tensors.keys() == expected.keys()
    assert all(torch.equal(found.tensors[key], expected[key]) for key in expected)
    assert any(note in said for said in found.notes), found.notes


@pytest.mark.parametrize(
    ("content", "weights", "reason"),
    [
        (
            {"state_dict_ema": MEAN},
            "last",
            "expected weights beside the averaged ones of state_dict_ema.*--weights ema",
        ),
        ({"state_dict": STATE}, "ema", r"expected averaged weights \(EMA\), found none"),
        ({"state_dict": under("teacher.", STATE) | under("student.", STATE)}, "auto", "'teacher.', 'student.'"),
        ({"state_dict": {"fc_linear.bias": torch.zeros(3, device="meta")}}, "auto", r"meta.*under fc_linear\.bias"),
        ({"state_dict": {"fc_linear.bias": torch.zeros(3).to_sparse()}}, "auto", r"sparse.*under fc_linear\.bias"),
        ({"state_dict": {"fc_linear.bias": torch.zeros(3) * 1j}}, "auto", r"complex.*under fc_linear\.bias"),
        ({"state_dict": STATE | {"fc_linear.note": "x"}}, "auto", "other values under fc_linear.note"),
        ({"format": "qedeploy/1", "structure": {}}, "auto", "a file of format 'qedeploy/1'"),
    ],
)
def test_what_cannot_be_chosen_or_read_is_named(tmp_path, content, weights, reason):
    with pytest.raises(UserError, match=reason):
        read_reference_state(save(tmp_path / "x.pth", content), Weights(weights))


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_are_read(tmp_path, kind):
    state = {key: value.to(kind) if value.is_floating_point() else value for key, value in STATE.items()}
    safetensors.torch.save_file({f"module.{key}": value for key, value in state.items()}, tmp_path / "m.safetensors")
    found = read_reference_state(tmp_path / "m.safetensors").tensors
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-9])
    with pytest.raises(UserError, match="a safetensors file that was cut short or damaged"):
        read_reference_state(tmp_path / "cut.safetensors")


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data.pkl", "w") as member:
        for _ in range(64):
            member.write(bytes(1 << 20))
    with pytest.raises(UserError, match=r"packed by something other than torch\.save"):
        read_reference_state(path)


def test_what_torch_itself_made_of_a_scripted_module_is_named(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "x.pth"))
    with pytest.raises(UserError, match="a TorchScript archive"):
        read_reference_state(tmp_path / "x.pth")


def test_torchscript_and_other_archives_are_named(tmp_path):
    for member, reason in (("x/constants.pkl", "a TorchScript archive"), ("photo.jpg", "torch.save did not write")):
        with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
            archive.writestr(member, b"12")
        with pytest.raises(UserError, match=reason):
            read_reference_state(tmp_path / "x.pth")
