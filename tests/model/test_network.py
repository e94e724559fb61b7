"""The network: its names, its block semantics against plain PyTorch, its sizes and its seeds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.network import (
    QuantizedBlock,
    QuantizedNetwork,
    initialize_steps,
    layer_modules,
    quantizers,
    signed_activations,
)
from qedeploy.network.layers import expand_layers
from qedeploy.network.lightnas import from_blocks
from qedeploy.network.published import published_models
from qedeploy.network.structure import Activation, Bits, StructureError
from tests.model.structures import tiny_structure

FLOAT = Bits(weight=16, activation=16)


def plain_convolution(x: torch.Tensor, module, act) -> torch.Tensor:
    x = functional.conv2d(x, module.weight, stride=module.stride, padding=module.kernel // 2, groups=module.groups)
    bn = module.bn
    x = functional.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, training=False, eps=bn.eps)
    return act(x)


def plain_block(x: torch.Tensor, block: QuantizedBlock, act, last) -> torch.Tensor:
    """A block as issue 6 writes it, with nothing quantized."""
    y = x if block.expand is None else plain_convolution(x, block.expand, act)
    y = plain_convolution(y, block.depthwise, act)
    y = plain_convolution(y, block.project, lambda z: z)
    if x.shape[1] == y.shape[1]:
        if block.stride == 2:
            height, width = x.shape[2] % 2, x.shape[3] % 2
            padded = functional.pad(x, (0, width, 0, height), mode="replicate")  # the mean of what lies inside
            x = functional.avg_pool2d(padded, 2)
        y = y + x
    return last(y)


def plain_forward(network: QuantizedNetwork, x: torch.Tensor) -> torch.Tensor:
    structure = network.structure
    act = functional.relu if structure.activation is Activation.RELU else functional.relu6
    last = (lambda z: z) if structure.linear_bottlenecks else act
    x = plain_convolution(x, network.stem, act)
    for number, stage in enumerate(structure.stages, start=1):
        for index in range(len(stage.blocks)):
            x = plain_block(x, network.get_submodule(f"stage{number}.block{index + 1}"), act, last)
    x = plain_convolution(x, network.head, act)
    return functional.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1), network.classifier.weight,
                             network.classifier.bias)  # fmt: skip


@pytest.mark.parametrize("resolution", [16, 17, 31, 32])
@pytest.mark.parametrize("mobile", [False, True])
def test_without_quantization_the_forward_is_that_of_plain_pytorch(resolution, mobile):
    activation = Activation.RELU6 if mobile else Activation.RELU
    structure = tiny_structure(
        FLOAT, edge=FLOAT, resolution=resolution, activation=activation, linear=mobile, expand=not mobile
    )
    network = build(structure, seed=0).double().train()
    images = 3 * torch.randn(4, 3, resolution, resolution, dtype=torch.float64)
    network(images)
    network.eval()
    assert list(quantizers(network)) == []
    torch.testing.assert_close(network(images), plain_forward(network, images), rtol=1e-10, atol=1e-10)


def test_with_many_bits_the_forward_approaches_the_float_one():
    wide = tiny_structure(Bits(weight=14, activation=14), edge=Bits(weight=14, activation=14))
    network = build(wide, seed=0, unsigned_activation_bits=16).double()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    network(images)
    network.eval()
    for _, quantizer in quantizers(network):
        quantizer.set_step(quantizer.step.detach() / 8)  # reaches 22 times the mean still, and rounds finely
    torch.testing.assert_close(network(images), plain_forward(network, images), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["mixed19d2G", "mixed7d0G", "init_Mixed_7d0G", "mbv2_8bit_stem8", "mbv2_4bit_stem4"])
def test_golden_structures_build_and_run(named_golden, name):
    structure = from_blocks(named_golden[name]["structure"], resolution=33)
    network = build(structure, num_classes=7, seed=0)
    logits = network(torch.randn(2, 3, 33, 33))
    logits.sum().backward()
    assert logits.shape == (2, 7)
    assert list(layer_modules(network)) == [layer.name for layer in expand_layers(structure)]
    missing = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert missing == []


def test_published_models_build_and_run():
    for model in published_models():
        network = build(model.structure, num_classes=3, seed=0)
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("expand", [True, False])
def test_every_module_matches_its_layer(expand):
    structure = tiny_structure(Bits(weight=3, activation=5), resolution=31, expand=expand)
    network = build(structure, seed=0)
    sizes = {}
    for name, module in layer_modules(network).items():
        module.register_forward_hook(lambda _module, inputs, output, name=name: sizes.update({name: (inputs, output)}))
    network(torch.randn(2, 3, 31, 31))
    modules = layer_modules(network)
    for layer in expand_layers(structure):
        module = modules[layer.name]
        assert module.name == layer.name
        assert module.weight.numel() == layer.weight_count
        assert module.weight_quantizer.bits == layer.bits.weight
        assert module.activation_quantizer.bits == layer.bits.activation
        assert module.weight_quantizer.step.shape == (layer.out_channels, *[1] * (module.weight.ndim - 1))
        assert module.activation_quantizer.step.shape == (1,)
        (inputs,), output = sizes[layer.name]
        assert inputs.shape[1] == layer.in_channels
        assert output.shape[1] == layer.out_channels
        if layer.name != "classifier":
            assert inputs.shape[2:] == (layer.input_size, layer.input_size)
            assert output.shape[2:] == (layer.output_size, layer.output_size)


def test_activations_are_unsigned_behind_a_relu_where_the_runtime_can():
    structure = tiny_structure(Bits(weight=4, activation=4))
    names = [layer.name for layer in expand_layers(structure)]
    assert signed_activations(build(structure)) == ("stem",)
    assert signed_activations(build(structure, unsigned_activation_bits=7)) == ("stem", "classifier")
    assert signed_activations(build(structure, unsigned_activation_bits=0)) == tuple(names)


def test_what_a_linear_bottleneck_puts_out_is_signed():
    structure = tiny_structure(activation=Activation.RELU6, linear=True)
    expected = ("stem", "stage2.block1.expand", "stage2.block2.expand", "head")
    assert signed_activations(build(structure)) == expected


def test_unsigned_inputs_are_never_negative():
    network = build(tiny_structure(resolution=15), seed=3)
    for module in layer_modules(network).values():
        if not module.activation_quantizer.signed:
            module.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].min().item()))
    seen: list[float] = []
    network(torch.randn(3, 3, 15, 15))
    assert len(seen) == len(layer_modules(network)) - 1
    assert min(seen) >= 0


def test_seeds_make_the_weights_and_leave_torchs_own_state():
    structure = tiny_structure()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (build(structure, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])
    torch.manual_seed(5)
    unseeded = build(structure).state_dict()
    torch.manual_seed(5)
    assert torch.equal(unseeded["head.weight"], build(structure).state_dict()["head.weight"])


def test_the_number_of_classes_replaces_the_structures():
    network = build(tiny_structure(classes=10), num_classes=4)
    assert network.structure.classifier.classes == 4
    assert network.classifier.weight.shape[0] == 4
    assert build(tiny_structure(classes=10)).structure == tiny_structure(classes=10)
    with pytest.raises(StructureError, match="classes"):
        build(tiny_structure(), num_classes=0)


def test_a_width_of_one_bit_is_refused_by_layer():
    with pytest.raises(RequestError, match=r"stage1\.block1\.expand: .*found 1"):
        build(tiny_structure(Bits(weight=1, activation=4)))


def test_initialize_steps_sets_every_step_and_nothing_else():
    network = build(tiny_structure(), seed=0)
    images = torch.randn(4, 3, 16, 16)
    network.eval()
    with pytest.raises(UserError, match="never set"):
        network(images)
    network.head.train()
    statistics = copy.deepcopy({key: value for key, value in network.state_dict().items() if ".bn." in key})
    initialize_steps(network, images)
    assert all(bool(quantizer.initialized) for _, quantizer in quantizers(network))
    assert all(torch.equal(network.state_dict()[key], value) for key, value in statistics.items())
    assert network.head.training
    assert not network.stem.activation_quantizer.training
    assert network.eval()(images).isfinite().all()


def test_a_deep_copy_and_float64_compute_the_same():
    network = build(tiny_structure(), seed=0)
    images = torch.randn(4, 3, 16, 16)
    network(images)
    network.eval()
    expected = network(images)
    torch.testing.assert_close(copy.deepcopy(network)(images), expected, rtol=0, atol=0)
    wide = copy.deepcopy(network).to(torch.float64)(images.double())
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide.float(), expected, rtol=0.2, atol=0.2)  # a sum on a rounding boundary may flip


def test_the_training_and_evaluation_modes_differ_only_by_batch_statistics():
    network = build(tiny_structure(), seed=0)
    images = torch.randn(8, 3, 16, 16)
    network(images)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    in_training = network(images)
    torch.testing.assert_close(network.eval()(images), in_training, rtol=0, atol=0)
