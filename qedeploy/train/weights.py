"""Moving weights between networks of one shape: to other widths, from another checkpoint, to the float twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from qedeploy.errors import RequestError, UserError
from qedeploy.model.build import build
from qedeploy.model.checkpoint import load_checkpoint
from qedeploy.model.network import QuantizedNetwork, layer_modules, quantizers
from qedeploy.network.layers import Layer, expand_layers
from qedeploy.network.structure import MAX_BITS, Bits, Block, Structure
from qedeploy.profiles.profile import Profile
from qedeploy.words import listed

_FLOATING = Bits(weight=MAX_BITS, activation=MAX_BITS)


def is_trained(network: QuantizedNetwork) -> bool:
    """Return whether `network` has seen images: its normalisations have counted batches."""
    return int(network.stem.bn.num_batches_tracked or 0) > 0


def retargeted(network: QuantizedNetwork, profile: Profile) -> QuantizedNetwork:
    """Return `network` with widths and signs that `profile` runs, or itself where it has them all.

    A layer whose pair the profile lacks takes the cheapest one that is as wide, or else the widest there is. Weights
    and normalisation stay; a step stays where its quantizer does. Raises RequestError where a layer has no pair at all.
    """
    structure = network.structure
    pairs = {layer.name: _nearest(layer, profile) for layer in expand_layers(structure)}
    made = build(with_bits(structure, pairs), unsigned_activation_bits=profile.unsigned_activation_bits, seed=0)
    old, new = layer_modules(network), layer_modules(made)
    same = all(
        (was.bits, was.signed) == (now.bits, now.signed)
        for name in old
        for was, now in (
            (old[name].weight_quantizer, new[name].weight_quantizer),
            (old[name].activation_quantizer, new[name].activation_quantizer),
        )
    )
    if same:
        return network
    transfer(network, made)
    return made


@torch.no_grad()
def transfer(source: QuantizedNetwork, target: QuantizedNetwork) -> None:
    """Copy weights and normalisation, and the steps of quantizers of the same width and sign, into `target`.

    Raises UserError where the layers have other shapes.
    """
    theirs, mine = layer_modules(source), layer_modules(target)
    different = [name for name in mine if name not in theirs or theirs[name].weight.shape != mine[name].weight.shape]
    if different or len(theirs) != len(mine):
        raise UserError(f"expected weights of the same structure, found other shapes in {listed(different) or 'count'}")
    state = source.state_dict()
    own = target.state_dict()
    ours = dict(quantizers(target))
    kept = {
        name
        for name, quantizer in quantizers(source)
        if name in ours and (ours[name].bits, ours[name].signed) == (quantizer.bits, quantizer.signed)
    }
    for key, value in own.items():
        owner, _, last = key.rpartition(".")
        if last in {"step", "initialized"}:
            if owner in kept:
                value.copy_(state[key])
        else:
            value.copy_(state[key])
    for name, quantizer in quantizers(source):
        if name in kept:
            ours[name].trained = quantizer.trained


def weights_from(path: Path, target: QuantizedNetwork) -> None:
    """Put the weights of the checkpoint at `path` into `target`; raises UserError where its structure is another."""
    try:
        transfer(load_checkpoint(path).network, target)
    except RequestError:
        raise
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def float_twin(network: QuantizedNetwork) -> QuantizedNetwork:
    """Return a network of the same weights in which no layer is quantized."""
    pairs = {layer.name: _FLOATING for layer in expand_layers(network.structure)}
    twin = build(with_bits(network.structure, pairs), seed=0)
    transfer(network, twin)
    return twin.eval()


def with_bits(structure: Structure, pairs: Mapping[str, Bits]) -> Structure:
    """Return `structure` with the widths of `pairs`, one for each of its layers by name."""
    stages = []
    for number, stage in enumerate(structure.stages, start=1):
        blocks = []
        for place, block in enumerate(stage.blocks, start=1):
            name = f"stage{number}.block{place}"
            expand = None if block.expand is None else pairs[f"{name}.expand"]
            blocks.append(Block(expand=expand, depthwise=pairs[f"{name}.depthwise"], project=pairs[f"{name}.project"]))
        stages.append(dataclasses.replace(stage, blocks=tuple(blocks)))
    return dataclasses.replace(
        structure,
        stem=dataclasses.replace(structure.stem, bits=pairs["stem"]),
        stages=tuple(stages),
        head=dataclasses.replace(structure.head, bits=pairs["head"]),
        classifier=dataclasses.replace(structure.classifier, bits=pairs["classifier"]),
    )


def _nearest(layer: Layer, profile: Profile) -> Bits:
    offered = profile.pairs(layer.category)
    if layer.bits in offered:
        return layer.bits
    if not offered:
        raise RequestError(f"{layer.name}: profile {profile.name} runs no {layer.category} layers")
    wide = [pair for pair in offered if pair.weight >= layer.bits.weight and pair.activation >= layer.bits.activation]
    if wide:
        return min(wide, key=lambda pair: (pair.weight * pair.activation, pair.weight))
    return max(offered, key=lambda pair: (pair.weight * pair.activation, pair.weight))
