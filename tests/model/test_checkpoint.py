"""Checkpoints: they come back equal, byte for byte, and everything else is refused in one line."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections import OrderedDict
from pathlib import Path

import onnx
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint
from qedeploy.model.network import QuantizedNetwork, initialize_steps, quantizers, signed_activations
from qedeploy.network.structure import Bits
from tests.model.structures import tiny_structure

RECIPE = {"name": "mixed-7d0g", "budgets": {"flops": 1.5e8}, "bits": [3, 4], "note": None, "exact": True}


@pytest.fixture
def network() -> QuantizedNetwork:
    made = build(tiny_structure(), seed=0)
    initialize_steps(made, torch.randn(4, 3, 16, 16))
    return made


@pytest.fixture
def path(tmp_path, network) -> Path:
    return save_checkpoint(tmp_path / "model.pth", network, profile="cpu-int8", recipe=RECIPE)


def document(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def rewritten(path: Path, change) -> Path:
    value = document(path)
    changed = change(value)
    torch.save(value if changed is None else changed, path)
    return path


def refusal(path: Path, error: type[UserError] = UserError) -> str:
    with pytest.raises(error) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_what_is_saved_comes_back(path, network):
    loaded = load_checkpoint(path)
    assert (loaded.profile, loaded.recipe, loaded.structure) == ("cpu-int8", RECIPE, network.structure)
    assert not loaded.network.training
    images = torch.randn(5, 3, 16, 16)
    torch.testing.assert_close(loaded.network(images), network.eval()(images), rtol=0, atol=0)
    state = loaded.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())


@pytest.mark.parametrize("unsigned_activation_bits", [0, 4, 8])
def test_signedness_comes_back(tmp_path, unsigned_activation_bits):
    network = build(tiny_structure(), seed=0, unsigned_activation_bits=unsigned_activation_bits)
    path = save_checkpoint(tmp_path / "model.pth", network, profile="p", recipe={})
    assert signed_activations(load_checkpoint(path).network) == signed_activations(network)


def test_untrained_steps_come_back_untrained(tmp_path):
    path = save_checkpoint(tmp_path / "model.pth", build(tiny_structure(), seed=0), profile="p", recipe={})
    initialized = {name: bool(quantizer.initialized) for name, quantizer in quantizers(load_checkpoint(path).network)}
    assert {name.endswith("weight_quantizer") for name, value in initialized.items() if value} == {True}
    assert {name.endswith("activation_quantizer") for name, value in initialized.items() if not value} == {True}


def test_equal_content_makes_equal_bytes(tmp_path, path):
    again = load_checkpoint(path).save(tmp_path / "elsewhere" / "other name.pth")
    assert again.read_bytes() == path.read_bytes()
    assert [file.name for file in again.parent.iterdir()] == [again.name]


def test_a_loaded_network_trains_and_saves(tmp_path, path):
    loaded = load_checkpoint(path)
    loaded.network.train()
    optimizer = torch.optim.SGD(loaded.network.parameters(), lr=0.1)
    loaded.network(torch.randn(8, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    again = load_checkpoint(loaded.save(tmp_path / "trained.pth"))
    assert not torch.equal(again.network.stem.weight, load_checkpoint(path).network.stem.weight)
    assert torch.equal(again.network.stem.weight, loaded.network.stem.weight)


@given(
    weight=st.integers(2, 16),
    activation=st.integers(2, 16),
    expand=st.booleans(),
    recipe=st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    ),
)
@settings(deadline=None, max_examples=15)
def test_any_widths_and_any_recipe_come_back(tmp_path_factory, weight, activation, expand, recipe):
    structure = tiny_structure(Bits(weight=weight, activation=activation), expand=expand)
    network = build(structure, seed=1)
    path = tmp_path_factory.mktemp("checkpoint") / "model.pth"
    loaded = load_checkpoint(save_checkpoint(path, network, profile="any-bits", recipe=recipe))
    assert (loaded.structure, loaded.recipe) == (structure, recipe)
    state = loaded.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda network: torch.nn.DataParallel(torch.compile(network))])
def test_wrappers_are_taken_off(tmp_path, path, network, wrap):
    again = save_checkpoint(tmp_path / "wrapped.pth", wrap(network), profile="cpu-int8", recipe=RECIPE)
    assert again.read_bytes() == path.read_bytes()


def test_wider_types_and_memory_formats_are_written_plainly(tmp_path, path, network):
    changed = network.double().to(memory_format=torch.channels_last)
    again = save_checkpoint(tmp_path / "double.pth", changed, profile="cpu-int8", recipe=RECIPE)
    assert again.read_bytes() == path.read_bytes()


def test_a_step_that_the_last_update_pushed_below_zero_is_saved_positive(tmp_path, network):
    network.stem.activation_quantizer.step.data.fill_(-0.5)
    path = save_checkpoint(tmp_path / "model.pth", network, profile="p", recipe={})
    assert load_checkpoint(path).network.stem.activation_quantizer.step.item() > 0


def test_saving_refuses_what_could_not_be_loaded(tmp_path, network):
    path = tmp_path / "model.pth"
    with pytest.raises(UserError, match="found a Linear"):
        save_checkpoint(path, torch.nn.Linear(2, 2), profile="p", recipe={})
    for recipe, where in (({"a": {"b": [1, object()]}}, r"recipe\.a\.b\[1\]"), ({1: 2}, "found 1")):
        with pytest.raises(UserError, match=where):
            save_checkpoint(path, network, profile="p", recipe=recipe)
    network.head.weight.data[0] = float("nan")
    with pytest.raises(UserError, match=r"head\.weight.*learning rate"):
        save_checkpoint(path, network, profile="p", recipe={})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file(tmp_path, network):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "model.pth", network, profile="p", recipe={})


def onnx_bytes() -> bytes:
    graph = onnx.helper.make_graph([], "empty", [], [])
    return onnx.helper.make_model(graph).SerializeToString()


def test_missing_folder_empty_and_text(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.pth")
    assert "is a folder" in refusal(tmp_path)
    for name, content, expected in (
        ("empty.pth", b"", "an empty file"),
        (
            "text.pth",
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer and not the file that it stands for: run `git lfs pull`",
        ),
        ("page.pth", b"<html><body>404</body></html>", "an HTML document: a page was saved"),
        ("archive.pth", gzip.compress(b"a" * 100, mtime=0), "a gzip archive: unpack it first"),
        ("model.pth", onnx_bytes(), "an ONNX model: `qedeploy bench`"),
        ("m.pth", safetensors.torch.save({"a": torch.ones(2)}), "a safetensors file: with the structure"),
        ("umlauts.pth", ("ä" * 3000).encode()[1:2048], "another kind of file"),
        ("cut.pth", ("xä" * 3000).encode(), "found text"),
        ("binary.pth", bytes(range(255)), "another kind of file"),
        ("zeros.pth", b"\0" * 2000, "nothing but zero bytes"),
        ("old.pth", b"\x80\x02}q\x00.", "can run code"),
    ):
        (tmp_path / name).write_bytes(content)
        assert expected in refusal(tmp_path / name)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97, 0.999])
def test_truncated(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated or damaged" in refusal(path)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=100)
def test_a_damaged_byte_is_noticed_or_harmless(tmp_path_factory, place, flip):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    good = folder / "good.pth"
    if not good.exists():
        save_checkpoint(good, build(tiny_structure(), seed=0), profile="p", recipe={})
    content = bytearray(good.read_bytes())
    content[int(place * len(content))] ^= flip
    damaged = folder / "damaged.pth"
    damaged.write_bytes(content)
    try:
        loaded = load_checkpoint(damaged)
    except UserError:
        return
    expected = load_checkpoint(good)
    assert loaded.structure == expected.structure
    state = loaded.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in expected.network.state_dict().items())


def test_an_entry_that_claims_to_be_a_folder(path):
    """PyTorch would leave the tensor's memory unset: whatever lay there before."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 38] |= 0x10
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "zip archive that torch.save did not write" in refusal(path)


def test_other_checkpoints(tmp_path, network):
    lightnas = {"state_dict": network.state_dict(), "epoch": 3, "arch": "CnnNet", "optimizer": {}, "best": 70.7}
    for name, value, expected in (
        ("bare.pth", network.state_dict(), "a bare state_dict of"),
        ("reference.pth", lightnas, "without a structure"),
        ("list.pth", [1, 2], "found a list"),
        ("tensor.pth", torch.ones(2), "found a Tensor"),
        ("nothing.pth", {}, "an empty dictionary"),
        ("numbers.pth", {1: 2}, "no format"),
        ("newer.pth", {"format": "qedeploy/2"}, "qedeploy/2, which another version"),
        ("other.pth", {"format": "somebody/1"}, "found format 'somebody/1'"),
        ("strange.pth", {"format": torch.ones(2), "a": 1}, "no format"),
        ("old.pth", None, "can run code"),
    ):
        path = tmp_path / name
        torch.save(value, path, _use_new_zipfile_serialization=value is not None)
        message = refusal(path)
        assert expected in message
        assert FORMAT in message


def test_a_whole_module_is_never_unpickled(tmp_path, network):
    path = tmp_path / "module.pth"
    torch.save(network, path)
    message = refusal(path)
    assert "qedeploy.model.network.QuantizedNetwork" in message
    assert "never loaded because it can run code" in message


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_code_in_a_file_does_not_run(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stream = io.BytesIO()
    torch.save({"format": FORMAT, "structure": Bomb()}, stream)
    path.write_bytes(stream.getvalue())
    assert "can run code" in refusal(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("key", ["structure", "profile", "recipe", "signed_activations", "state_dict"])
def test_a_missing_or_wrong_part_is_named(path, key):
    assert f"{key}: expected a" in refusal(rewritten(path, lambda value: value.pop(key) and None))
    torch.save({**{"format": FORMAT}, key: 3}, path)
    refusal(path)


def test_weights_that_contradict_the_structure(path):
    def change(value):
        state = value["state_dict"]
        state["stem.weight"] = torch.ones(2, 3)
        state["stranger"] = torch.ones(1)
        state["stage1.block1.expand.bn.weight"] = state["stage1.block1.expand.bn.weight"].half()
        state["head.bn.bias"] = "zero"
        for name in list(state):
            if name.startswith("classifier."):
                del state[name]

    message = refusal(rewritten(path, change))
    for part in (
        "missing classifier.weight, classifier.bias, classifier.weight_quantizer.step and 3 more",
        "unexpected stranger",
        "stem.weight has shape 2x3, expected 8x3x3x3",
        "stage1.block1.expand.bn.weight holds float16, expected float32",
        "head.bn.bias is a str, expected a tensor",
    ):
        assert part in message


def test_a_structure_of_other_sizes(path):
    def change(value):
        value["structure"]["head"]["out_channels"] = 1 << 20
        value["structure"]["classifier"]["classes"] = 1 << 20  # 4 TB, were it allocated before it is compared

    with pytest.raises(RequestError, match="at most 200,000,000 weights, found 1,099,5"):
        load_checkpoint(rewritten(path, change))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.module."])
def test_keys_of_a_wrapped_network(path, prefix):
    expected = load_checkpoint(path).network.state_dict()

    def change(value):
        value["state_dict"] = OrderedDict((f"{prefix}{key}", tensor) for key, tensor in value["state_dict"].items())

    found = load_checkpoint(rewritten(path, change)).network.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_tensors_without_values(path):
    def change(value):
        value["state_dict"]["head.weight"] = value["state_dict"]["head.weight"].to("meta")

    assert "head.weight is not a dense tensor in memory" in refusal(rewritten(path, change))


@pytest.mark.parametrize(
    ("key", "number", "expected"),
    [
        ("stage2.block1.project.weight", float("nan"), "NaN or infinite values in stage2.block1.project.weight"),
        ("head.bn.running_var", float("inf"), "NaN or infinite values in head.bn.running_var"),
        ("stem.activation_quantizer.step", float("nan"), "NaN or infinite values in stem.activation_quantizer.step"),
        ("stem.activation_quantizer.step", 0.0, "not positive in stem.activation_quantizer.step"),
        ("head.weight_quantizer.step", -1e-9, "not positive in head.weight_quantizer.step"),
        ("head.bn.running_var", -1.0, "negative variances in head.bn.running_var"),
    ],
)
def test_values_that_no_training_leaves(path, key, number, expected):
    def change(value):
        value["state_dict"][key].view(-1)[0] = number

    assert expected in refusal(rewritten(path, change))


def test_tensors_that_are_not_dense(path):
    def change(value):
        state = value["state_dict"]
        state["stem.weight"] = torch.ones(1, 1, 1, 1).expand(state["stem.weight"].shape)
        state["head.weight"] = state["head.weight"].to_sparse()

    message = refusal(rewritten(path, change))
    assert "stem.weight is not a dense tensor" in message
    assert "head.weight is not a dense tensor" in message


def test_float64_weights_are_taken_as_float32(path):
    def change(value):
        value["state_dict"]["stem.weight"] = value["state_dict"]["stem.weight"].double()

    assert load_checkpoint(rewritten(path, change)).network.stem.weight.dtype == torch.float32


def test_wrong_structures_and_names(path):
    def widths(value):
        value["structure"]["stages"][0]["blocks"][0]["expand"]["weight"] = 1

    def unknown(value):
        value["structure"]["colour"] = "red"

    assert "stage1.block1.expand" in refusal(rewritten(path, widths), RequestError)
    assert "colour" in refusal(rewritten(path, unknown))


@pytest.mark.parametrize("name", ["stage9", ["stem"], 3])
def test_names_of_layers_that_there_are_not(path, name):
    assert "signed_activations" in refusal(rewritten(path, lambda value: value.update(signed_activations=[name])))


def test_a_checkpoint_is_a_plain_value(path):
    loaded = load_checkpoint(path)
    other = Checkpoint(network=loaded.network, profile="t4-int8", recipe=loaded.recipe)
    assert other.save(path) == path
    assert load_checkpoint(path).profile == "t4-int8"
