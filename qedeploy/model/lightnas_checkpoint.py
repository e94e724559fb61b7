"""Training checkpoints of the reference (LightNAS): their weights and steps under the names that every room uses.

The reference quantizes every activation, the image and what follows a ReLU alike, to signed integers, and the
classifier to 8 bits. Source: alibaba/lightweight-neural-architecture-search and tinyvision/imagenet-training-pipeline,
whose files hold epoch, arch, state_dict, best_acc1 and the optimizer's state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.model.foreign_state import NAMED_AT_MOST, ForeignState, Weights, read_state
from qedeploy.model.layers import QuantizedConvolution
from qedeploy.model.network import QuantizedLayer, QuantizedNetwork, layer_modules
from qedeploy.network.layers import Layer, Position, expand_layers
from qedeploy.network.structure import MAX_BITS, Bits, Structure
from qedeploy.words import listed

_INNER = {"expand": "conv1", "depthwise": "conv2", "project": "conv3"}
_DERIVED = (".weightq", ".alpha", ".scalar")
"""What the reference's forward pass writes from weights and steps."""

_CLASSIFIER = "fc_linear"
_CLASSIFIER_BITS = Bits(weight=8, activation=8)
_OPTIONAL = ".num_batches_tracked"
_ROOTS = ("block_list.", f"{_CLASSIFIER}.")


def read_reference_state(path: Path, weights: Weights = Weights.AUTO) -> ForeignState:
    """Return the tensors of a reference checkpoint by key, without what wrappers put in front.

    Raises what `foreign_state.read_state` raises.
    """
    return read_state(path, _ROOTS, weights)


def network_from_reference(structure: Structure, state: Mapping[str, Tensor], source: Path | str) -> QuantizedNetwork:
    """Return `structure` with the weights, statistics and steps of `state`, in evaluation mode.

    The classifier has as many classes as `state` says. Raises UserError, naming `source`, with every key that is
    missing, unexpected or wrongly shaped, or whose values no network of ours can hold.
    """
    structure = _with_reference_classifier(structure, state)
    network = QuantizedNetwork(structure, signed_activations=[layer.name for layer in expand_layers(structure)])
    _require_quantized(structure, source)
    keys = dict(_targets(network))
    _require_agreement(keys, state, source)
    state = _with_positive_steps(state, structure)
    _require_sound_values(keys, state, source)
    with torch.no_grad():
        for key, target in keys.items():
            if key in state:
                target.copy_(state[key])
        for module in layer_modules(network).values():
            for quantizer in (module.weight_quantizer, module.activation_quantizer):
                if quantizer.step is not None:
                    quantizer.set_step(quantizer.step.clone())
    return network.eval()


def reference_prefix(layer: Layer, stages: int) -> tuple[str, str | None]:
    """Return the prefixes of a layer's convolution and of its normalisation (None for the classifier)."""
    if layer.position is Position.CLASSIFIER:
        return _CLASSIFIER, None
    if layer.position is not None:
        block = f"block_list.{0 if layer.position is Position.STEM else stages + 1}"
    else:
        stage, inner, role = layer.name.split(".")
        position = int(inner.removeprefix("block")) - 1
        block = f"block_list.{stage.removeprefix('stage')}.block_list.{position}.{_INNER[role]}"
    return f"{block}.conv1", f"{block}.bn1"


def _with_reference_classifier(structure: Structure, state: Mapping[str, Tensor]) -> Structure:
    weight = state.get(f"{_CLASSIFIER}.weight")
    classes = (
        weight.shape[0] if weight is not None and weight.ndim == 2 and len(weight) else structure.classifier.classes
    )
    classifier = dataclasses.replace(structure.classifier, classes=classes, bits=_CLASSIFIER_BITS)
    return dataclasses.replace(structure, classifier=classifier)


def _require_quantized(structure: Structure, source: Path | str) -> None:
    for layer in expand_layers(structure):
        if MAX_BITS in {layer.bits.weight, layer.bits.activation}:
            raise UserError(
                f"{source}: {layer.name} is {layer.bits}: the reference quantizes {MAX_BITS} bits and qedeploy leaves "
                f"them in floating point, so the steps have no place; expected fewer than {MAX_BITS}"
            )


def _targets(network: QuantizedNetwork) -> Iterator[tuple[str, Tensor]]:
    stages = len(network.structure.stages)
    modules = layer_modules(network)
    for layer in expand_layers(network.structure):
        module = modules[layer.name]
        convolution, normalisation = reference_prefix(layer, stages)
        yield from ((f"{convolution}.{name}", tensor) for name, tensor in _weighted(module))
        if isinstance(module, QuantizedConvolution):
            yield from ((f"{normalisation}.{name}", tensor) for name, tensor in module.bn.state_dict().items())


def _weighted(module: QuantizedLayer) -> Iterator[tuple[str, Tensor]]:
    yield "weight", module.weight
    if not isinstance(module, QuantizedConvolution):
        yield "bias", module.bias
    for name, quantizer in (("act_quan.s", module.activation_quantizer), ("weight_quan.s", module.weight_quantizer)):
        if quantizer.step is not None:
            yield name, quantizer.step


def _require_agreement(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path | str) -> None:
    faults = []
    missing = [key for key in expected if key not in state and not key.endswith(_OPTIONAL)]
    if missing:
        faults.append(f"missing {listed(missing, NAMED_AT_MOST)}")
    unexpected = [key for key in state if key not in expected and not _is_derived(key, expected)]
    if unexpected:
        faults.append(f"unexpected {listed(unexpected, NAMED_AT_MOST)}")
    shapes = [
        f"{key} {tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if shapes:
        faults.append(f"wrong shape: {listed(shapes, NAMED_AT_MOST)}")
    if faults:
        raise UserError(f"{source}: does not fit the structure: {'; '.join(faults)}; is it the checkpoint of another?")


def _with_positive_steps(state: Mapping[str, Tensor], structure: Structure) -> dict[str, Tensor]:
    # The reference does not keep steps positive. A negative one rounds the weights of a channel as its opposite would
    # round their opposites, and the normalisation behind it takes the sign back: the same network, to the last bit.
    turned = dict(state)
    for layer in expand_layers(structure):
        convolution, normalisation = reference_prefix(layer, len(structure.stages))
        step = state[f"{convolution}.weight_quan.s"]
        if normalisation is None or not bool((step < 0).any()):
            continue
        sign = torch.where(step < 0, -1.0, 1.0).to(step.dtype)
        for key in ("weight", "weight_quan.s"):
            turned[f"{convolution}.{key}"] = state[f"{convolution}.{key}"] * sign
        for key in ("weight", "running_mean"):
            turned[f"{normalisation}.{key}"] = state[f"{normalisation}.{key}"] * sign.flatten()
    return turned


def _is_derived(key: str, expected: Mapping[str, Tensor]) -> bool:
    return key.endswith(_DERIVED) and f"{key.rpartition('.')[0]}.weight" in expected


def _require_sound_values(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path | str) -> None:
    faults = []
    for key in expected:
        if key not in state:
            continue
        value = state[key]
        if not bool(torch.isfinite(value).all()):
            faults.append(f"{key} holds NaN or infinity")
        elif key.endswith("_quan.s") and not bool((value > 0).all()):
            faults.append(f"{key} holds a step of {float(value.min()):g}, expected positive ones")
        elif key.endswith(".running_var") and not bool((value >= 0).all()):
            faults.append(f"{key} holds a variance of {float(value.min()):g}")
    if faults:
        raise UserError(f"{source}: {listed(faults, NAMED_AT_MOST)}: take a checkpoint from before that")
