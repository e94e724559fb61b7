"""Any PyTorch module through `quantize`: exported, quantized on tensors, and refused in one line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import qedeploy
from qedeploy import api
from qedeploy.errors import UserError
from qedeploy.export.torch_modules import export_module, tensor_samples
from qedeploy.runtimes.registry import reference


class Residual(nn.Module):
    """Two inputs, a normalisation, a residual, a pooling and a linear."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.block = nn.Conv2d(16, 16, 3, padding=1)
        self.drop = nn.Dropout(0.9)
        self.linear = nn.Linear(16, 4)

    def forward(self, image, shift):
        first = torch.relu(self.norm(self.stem(image)))
        return self.linear(self.drop(torch.relu(self.block(first) + first)).mean((2, 3))) + shift


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Residual()


def example():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 3, 16, 16, generator=generator), torch.randn(1, 4, generator=generator)


def test_the_file_computes_what_the_module_does_and_the_module_stays_as_it_was(network, tmp_path):
    network.train()
    network.norm.eval()
    path = export_module(network, example(), tmp_path / "network.onnx")
    assert network.training
    assert not network.norm.training
    assert network.drop.training
    network.eval()
    feed = {name: tensor.numpy() for name, tensor in zip(("input1", "input2"), example(), strict=True)}
    (found,) = reference().exact(path.read_bytes(), False)(feed).values()
    assert np.allclose(found, network(*example()).detach().numpy(), atol=1e-5)


def test_a_module_and_an_example_are_quantized_and_nothing_is_written(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = qedeploy.quantize(network, example(), profile="t4-int8", budgets=["error=0.1"])
    assert list(result.found.precisions.values()) == ["W8A8"] * 3
    assert result.written is None
    assert not list(tmp_path.iterdir())
    assert result.found.quantizer.write(result.found.precisions).shortcuts


def test_a_loader_with_labels_serves_and_the_folder_says_that_no_file_did(network, tmp_path):
    images, shifts = torch.randn(6, 3, 16, 16), torch.randn(6, 4)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, shifts, torch.arange(6)), batch_size=2)
    result = api.quantize(network, loader, example=example(), profile="t4-int8", samples=5, folder=tmp_path / "out")
    assert result.found.layers[0].samples == 5
    document = json.loads(result.written.assignment.read_text())
    assert document["data"] == {"folder": "in memory", "samples": 5}
    assert document["model"]["name"] == "residual.onnx"
    model = onnx.load(result.written.model)
    assert [item.name for item in model.graph.input] == ["input1", "input2"]


def test_tensors_are_split_along_their_first_axis_and_an_iterator_loses_none():
    image = torch.randn(1, 3, 8, 8)
    assert len(tensor_samples(torch.randn(5, 3, 8, 8), (image,), 9).samples) == 5
    network = nn.Conv2d(3, 8, 3)
    result = api.quantize(network, (torch.randn(1, 3, 8, 8) for _ in range(3)), profile="t4-int8", kept=["."])
    assert result.found.precisions
    assert len(tensor_samples([(image, 3), (image, 4)], (image,), 9).samples) == 2


@pytest.mark.parametrize(
    ("data", "given", "words"),
    [
        (torch.randn(1, 3, 8, 8).numpy(), None, "example: expected a tensor"),
        ("nowhere", None, "example: expected a tensor that Conv2d takes, beside data in nowhere"),
        ([], None, "example: expected a tensor"),
        (iter(()), torch.randn(1, 3, 8, 8), "data: expected tensors as the module takes them, found none"),
        (torch.randn(2, 3, 8, 9), torch.randn(1, 3, 8, 8), "expected 1x3x8x8 of float32 .* found 2x3x8x9"),
        (torch.full((1, 3, 8, 8), float("nan")), None, "sample1: input holds NaN"),
        (torch.randn(1, 4, 8, 8), None, "Conv2d: PyTorch cannot export it"),
        (3, None, "data: expected a path, tensors, or what yields tensors, found a int"),
    ],
)
def test_what_cannot_be_used_is_named(data, given, words):
    with pytest.raises(UserError, match=words):
        api.quantize(nn.Conv2d(3, 8, 3), data, example=given, profile="t4-int8")


def test_a_path_takes_no_tensors_and_nothing_else_is_a_model(tmp_path):
    with pytest.raises(UserError, match="expected a path in data"):
        api.quantize(tmp_path / "network.onnx", torch.randn(1, 3, 8, 8))
    with pytest.raises(UserError, match="model: expected a path or a PyTorch module, found a function"):
        api.quantize(lambda x: x, torch.randn(1, 3, 8, 8))
