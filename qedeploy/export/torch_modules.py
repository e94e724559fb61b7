"""Any PyTorch module as a float ONNX file, and tensors as the data that it is quantized on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qedeploy.errors import UserError
from qedeploy.export.onnx_networks.data import InMemory, Sample

_OPSET = 17
"""That of prepared files: nothing has to be raised."""


def inputs_of(example: object) -> tuple[Tensor, ...]:
    """Return the tensors of an example: one, or those of a tuple or list; raises UserError for anything else."""
    found = tuple(example) if isinstance(example, tuple | list) else (example,)
    tensors = tuple(item for item in found if isinstance(item, Tensor))
    if not tensors or len(tensors) != len(found):
        kinds = ", ".join(type(item).__name__ for item in found) or "nothing"
        raise UserError(f"example: expected a tensor, or a tuple with a tensor for each input, found {kinds}")
    return tensors


def first_of(data: object) -> tuple[object, object]:
    """Return the first item of `data`, and `data` as it was before: an iterator gives each item once."""
    items = _items(data)
    if items is data and not isinstance(data, Sequence) and iter(items) is data:
        head = list(islice(items, 1))
        return (head[0] if head else None), chain(head, items)
    return next(iter(items), None), data


def input_names(count: int) -> list[str]:
    """Return what the inputs of an exported module are called.

    >>> input_names(1), input_names(2)
    (['input'], ['input1', 'input2'])
    """
    return ["input"] if count == 1 else [f"input{number}" for number in range(1, count + 1)]


def export_module(module: nn.Module, example: Sequence[Tensor], path: Path) -> Path:
    """Write `module`, as it computes when evaluated, to the ONNX file `path` in the sizes of `example`; returns it.

    By PyTorch's exporter of traced graphs, which needs no other package; the module is left in the mode it was in.
    Raises UserError where the module cannot be traced.
    """
    was_training = {name: part.training for name, part in module.named_modules()}
    module.eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # It warns of its own end, and of branches of Python's that are fixed as the example takes them.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(example),
                str(path),
                input_names=input_names(len(example)),
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as error:  # a module may raise anything, and so may the exporter
        raise UserError(
            f"{type(module).__name__}: PyTorch cannot export it: {_first_line(error)}; export it by torch.onnx.export "
            "in a way that suits it, and quantize the file"
        ) from error
    finally:
        for name, part in module.named_modules():
            part.training = was_training[name]
    return path


def tensor_samples(data: object, example: Sequence[Tensor], limit: int) -> InMemory:
    """Return up to `limit` samples of `data`: an example, or what yields some, such as a DataLoader.

    What is yielded may have more elements than the module has inputs: labels are left out. More along the first axis
    than the example has are samples of their own. Raises UserError for tensors of another shape, or none.
    """
    names = input_names(len(example))
    samples = tuple(
        Sample(
            feed={name: part.detach().cpu().numpy() for name, part in zip(names, parts, strict=True)},
            source=Path(f"sample{number}"),
        )
        for number, parts in enumerate(islice(_parts(_items(data), example), limit), start=1)
    )
    if not samples:
        raise UserError("data: expected tensors as the module takes them, found none")
    for sample in samples:
        for name, array in sample.feed.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(f"data: {sample.source}: {name} holds NaN or infinity: mend or remove it")
    return InMemory(samples=samples)


def _items(data: object) -> Iterable[Any]:
    single = isinstance(data, Tensor) or (isinstance(data, tuple) and all(isinstance(item, Tensor) for item in data))
    if single:
        return (data,)
    if not isinstance(data, Iterable):
        raise UserError(f"data: expected a path, tensors, or what yields tensors, found a {type(data).__name__}")
    return data


def _parts(items: Iterable[Any], example: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yield the samples of each item, in the sizes of `example`."""
    for item in items:
        tensors = inputs_of(tuple(item)[: len(example)] if isinstance(item, tuple | list) else item)
        for given, wanted in zip(tensors, example, strict=False):
            if given.shape[1:] != wanted.shape[1:] or given.dtype != wanted.dtype or given.ndim != wanted.ndim:
                raise UserError(
                    f"data: expected {_described(wanted)} as the example is, or more along the first axis, found "
                    f"{_described(given)}"
                )
        if len(tensors) != len(example):
            raise UserError(f"data: expected a tensor for each of {len(example)} inputs, found {len(tensors)}")
        size = len(example[0]) if example[0].ndim else 1
        split = [torch.split(tensor, size) if tensor.ndim else (tensor,) for tensor in tensors]
        # What is left over at the end is no whole sample.
        yield from (parts for parts in zip(*split, strict=False) if parts[0].shape == example[0].shape)


def _described(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'a scalar'} of {str(tensor.dtype).removeprefix('torch.')}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
