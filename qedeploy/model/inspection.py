"""What is wrong with a state_dict, in words: keys, shapes, types and values that no network of ours has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from qedeploy.errors import UserError
from qedeploy.words import listed

_FLOATS = (torch.float32, torch.float64)


def require_state(state: Mapping[str, object], expected: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError, naming keys, unless `state` has the keys, shapes and types of `expected`."""
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    wrong = [
        problem for key, like in expected.items() if key in state and (problem := _mismatch(key, state[key], like))
    ]
    found = [f"{what} {listed(keys)}" for what, keys in (("missing", missing), ("unexpected", unexpected)) if keys]
    if wrong:
        found.append(listed(wrong))
    if found:
        raise UserError(
            f"{path}: the weights contradict the structure: {'; '.join(found)}; save the network that build or "
            "load_checkpoint made for this structure"
        )


def require_sound(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError, naming layers, for NaN or infinite values, steps that are not positive, negative variances."""
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise UserError(
            f"{path}: NaN or infinite values in {listed(broken)}: training diverged; go back to an earlier checkpoint, "
            "or train with a lower learning rate"
        )
    steps = [key for key, value in state.items() if key.endswith(".step") and bool((value <= 0).any())]
    if steps:
        raise UserError(
            f"{path}: quantization steps that are not positive in {listed(steps)}: save with save_checkpoint, which "
            "keeps them positive"
        )
    negative = [key for key, value in state.items() if key.endswith(".running_var") and bool((value < 0).any())]
    if negative:
        raise UserError(f"{path}: negative variances in {listed(negative)}: the file is damaged; write it again")


def describe_foreign(value: object) -> str:
    """Return what `value`, read from a file that is no checkpoint of ours, seems to be."""
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    if not value:
        return "an empty dictionary"
    state = value.get("state_dict")
    if isinstance(value.get("format"), str):
        return f"format {value['format']!r}"
    if isinstance(state, Mapping):
        others = [key for key in value if key != "state_dict"]
        beside = f" beside {listed(others)}" if others else ""
        return (
            f"a state_dict of {len(state)} entries{beside}, without a structure: load it into the network of the "
            "checkpoint that training started from, and save that"
        )
    if all(isinstance(item, Tensor) for item in value.values()):
        return (
            f"a bare state_dict of {len(value)} tensors ({listed(value)}), without a structure: "
            "load it into the network of the checkpoint that training started from, and save that"
        )
    return f"a dictionary with {listed(value)} and no format"


def _mismatch(key: str, value: object, expected: Tensor) -> str | None:
    if not isinstance(value, Tensor):
        return f"{key} is a {type(value).__name__}, expected a tensor"
    if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized:
        return f"{key} is not a dense tensor in memory"
    if not value.is_contiguous():
        return f"{key} is not a dense tensor"
    if value.shape != expected.shape:
        return f"{key} has shape {_shape(value)}, expected {_shape(expected)}"
    matches = value.dtype in _FLOATS if expected.is_floating_point() else value.dtype == expected.dtype
    if not matches:
        return f"{key} holds {_type(value)}, expected {_type(expected)}"
    return None


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
