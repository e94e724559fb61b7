"""The weights in a checkpoint that some training loop wrote: found under its keys, and freed of its wrappers' names.

Nothing in a file is run. Known are PyTorch's archives and its older files, and safetensors; containers of timm
(`state_dict`, `state_dict_ema`, `model_ema`), Lightning (keys below `model.`), DeepSpeed (`module`) and plain ones;
wrappers DataParallel and DistributedDataParallel (`module.`), torch.compile (`_orig_mod.`) and AveragedModel
(`n_averaged`), in any order and number.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qedeploy.contents import HEAD_BYTES, ContentKind, sniff
from qedeploy.errors import UserError
from qedeploy.files import read_bytes
from qedeploy.words import listed

NAMED_AT_MOST = 20
_WEIGHTS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "module")
_AVERAGED = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
    "ema",
    "averaged_model",
)
_COUNTER = "n_averaged"
_AVERAGED_WORDS = frozenset({"ema", "ema_model", "model_ema", "averaged", "averaged_model", "swa_model", "ema_module"})
_WRAPPERS = ("module.", "_orig_mod.")
_REFUSED = re.compile(r"GLOBAL (\S+) was not")
_READ = frozenset({ContentKind.ZIP, ContentKind.PICKLE, ContentKind.SAFETENSORS})
_EXPECTED = "expected a PyTorch checkpoint (.pth, .pth.tar, .pt) or safetensors"
_MOST_NESTED = 4
_NUMBER = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""What torch.save began its files with before they were archives (`MAGIC_NUMBER` of torch/serialization.py)."""
_SCRIPT = b"constants.pkl"
"""Name of an entry that torch.jit.save makes, and torch.save does not."""


class Weights(StrEnum):
    """Which weights to take where training kept their average (EMA) too; AUTO: the last ones, where there are any."""

    AUTO = "auto"
    LAST = "last"
    EMA = "ema"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForeignState:
    """Tensors by key, and sentences on where in the file they were and what was taken off their keys."""

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]


def read_state(path: Path, roots: tuple[str, ...], weights: Weights = Weights.AUTO) -> ForeignState:
    """Return the dense tensors of a network whose keys begin with one of `roots` once wrappers' names are off.

    Raises UserError that says what the file is, where it is no checkpoint, holds objects that would have to be run,
    holds no weights, or none of the kind that `weights` asks for.
    """
    content = _load(path)
    found = dict(_states(content))
    if not found:
        raise UserError(f"{path}: expected a state_dict of tensors, found {_kind(content)}")
    key, notes = _chosen(found, weights, path)
    state = {name: value for name, value in found[key].items() if name != _COUNTER}
    # Where the average lies under a key of its own, its keys say nothing of it.
    prefix, left_out = _prefix(state, roots, Weights.AUTO if _is_averaged(key) else weights, path)
    if prefix:
        notes.append(f"`{prefix}` taken off the keys")
    if left_out:
        notes.append(f"left out what is beside it: {listed(left_out)}")
    tensors = {name.removeprefix(prefix): value for name, value in state.items() if name not in set(left_out)}
    _require_dense(tensors, path)
    return ForeignState(tensors=tensors, notes=tuple(notes))


def without_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return `state` without the names that DataParallel and torch.compile put before every key.

    >>> without_wrappers({"module._orig_mod.stem.weight": 1})
    {'stem.weight': 1}
    """
    found = {key: value for key, value in state.items() if key != _COUNTER}
    while found and (prefix := next((name for name in _WRAPPERS if all(_starts(key, name) for key in found)), "")):
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def require_plain_archive(content: bytes) -> list[str]:
    """Return the names in a zip archive of PyTorch; raises an exception of some kind for a damaged or a packed one."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        # torch.save packs nothing: what unpacks to more than the file holds is no checkpoint, and may fill the memory.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise zipfile.BadZipFile("compressed")
        if sum(entry.file_size for entry in entries) > len(content):
            raise zipfile.BadZipFile("larger than the file")
        return [entry.filename for entry in entries]


def _starts(key: object, prefix: str) -> bool:
    return isinstance(key, str) and key.startswith(prefix)


def _load(path: Path) -> Any:
    data = read_bytes(path)
    content = sniff(data[:HEAD_BYTES])
    if content.kind not in _READ:
        raise UserError(f"{path}: {_EXPECTED}, found {content}")
    if content.kind is ContentKind.SAFETENSORS:
        return _safetensors(data, path)
    if content.kind is ContentKind.ZIP:
        _require_torch(data, path)
    try:
        with warnings.catch_warnings():
            # Of what no torch.save wrote, torch warns before it fails.
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:
        # torch raises errors of many types here, each with a page of advice to trust the file.
        refused = _REFUSED.search(str(error))
        if refused:
            converted = path.with_name(f"{path.name.partition('.')[0]}.weights.pth")
            raise UserError(
                f"{path}: holds {refused[1]}, a Python object, and loading those runs code, which qedeploy never does; "
                f"where you trust the file: python -c \"import torch; c = torch.load('{path}', weights_only=False); "
                "torch.save(c.state_dict() if hasattr(c, 'state_dict') else c.get('state_dict', c), "
                f"'{converted}')\" and import {converted.name}"
            ) from error
        if content.kind is ContentKind.PICKLE and _NUMBER not in data[:HEAD_BYTES]:
            raise UserError(
                f"{path}: {_EXPECTED}, found a Python pickle that torch.save did not write, or one that was cut short: "
                "save the state_dict with torch.save"
            ) from error
        raise UserError(f"{path}: a PyTorch checkpoint that was cut short or damaged: copy it again") from error


def _safetensors(data: bytes, path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found: Mapping[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: a safetensors file that was cut short or damaged ({reason}): copy it again"
        ) from error
    return found


def _require_torch(data: bytes, path: Path) -> None:
    try:
        names = require_plain_archive(data)
    except Exception as error:  # A damaged archive makes zipfile raise a dozen kinds, and all of them mean this.
        if _SCRIPT in data:
            raise _script(path) from error
        raise UserError(
            f"{path}: a zip archive that was cut short, damaged, or packed by something other than torch.save: "
            "copy it again"
        ) from error
    parts = {name.partition("/")[2] for name in names}
    if _SCRIPT.decode() in parts:
        raise _script(path)
    if "data.pkl" not in parts:
        raise UserError(f"{path}: {_EXPECTED}, found a zip archive that torch.save did not write: unpack it first")


def _script(path: Path) -> UserError:
    return UserError(f"{path}: {_EXPECTED}, found a TorchScript archive: save the state_dict of torch.jit.load of it")


def _states(content: object, where: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield the mappings of tensors in a checkpoint by the path of keys that leads there."""
    if not isinstance(content, Mapping) or depth > _MOST_NESTED:
        return
    if content and all(isinstance(key, str) for key in content) and _is_state(content):
        yield where, content
        return
    for key in (*_WEIGHTS, *_AVERAGED):
        if key in content:
            yield from _states(content[key], f"{where}.{key}" if where else key, depth + 1)


def _is_state(content: Mapping[str, object]) -> bool:
    # Some save the state_dict with a number or two among it, and `best_acc1` beside a state_dict is a tensor as well.
    return any(isinstance(value, Tensor) and "." in key for key, value in content.items())


def _is_averaged(where: str) -> bool:
    return any(part in _AVERAGED for part in where.split("."))


def _chosen(found: Mapping[str, Mapping[str, Tensor]], weights: Weights, path: Path) -> tuple[str, list[str]]:
    averaged = [key for key in found if _is_averaged(key)]
    last = [key for key in found if key not in averaged]
    if weights is Weights.EMA and averaged:
        return averaged[0], [f"averaged weights (EMA) of {averaged[0]}"]
    if weights is Weights.LAST and not last:
        raise UserError(
            f"{path}: expected weights beside the averaged ones of {averaged[0]}, found none: --weights ema"
        )
    if last:
        notes = [f"weights of {last[0]}"] if last[0] else []
        if averaged:
            notes.append(f"averaged weights (EMA) lie under {averaged[0]}: --weights ema takes those")
        return last[0], notes
    return averaged[0], [f"averaged weights (EMA) of {averaged[0]}, there are no others"]


def _prefix(state: Mapping[str, object], roots: tuple[str, ...], weights: Weights, path: Path) -> tuple[str, list[str]]:
    """Return what stands before the network's own keys, and the keys that are not the network's."""
    marked: dict[str, list[str]] = {}
    for key in state:
        prefix = _before(key, roots)
        if prefix is not None:
            marked.setdefault(prefix, []).append(key)
    if not marked:
        return _common(state), []
    averaged = [prefix for prefix in marked if _AVERAGED_WORDS & set(prefix.split("."))]
    chosen = averaged if weights is Weights.EMA else [prefix for prefix in marked if prefix not in averaged] or averaged
    if not chosen:
        raise UserError(f"{path}: expected averaged weights (EMA), found none: leave --weights out")
    if len(chosen) > 1:
        raise UserError(
            f"{path}: expected one network, found several, below {listed(map(repr, chosen))}: save the state_dict of "
            "one of them"
        )
    own = set(marked[chosen[0]])
    # At the root, what is not known may belong to the network all the same, and is named as unexpected.
    return chosen[0], [key for key in state if key not in own] if chosen[0] else [
        key for key in state if (prefix := _before(key, roots)) is not None and prefix != ""
    ]


def _before(key: str, roots: tuple[str, ...]) -> str | None:
    places = [found for root in roots if (found := f".{key}".find(f".{root}")) >= 0]
    return key[: min(places)] if places else None


def _common(state: Mapping[str, object]) -> str:
    """Return the names of wrappers that stand before every key."""
    prefix = ""
    while name := next((name for name in _WRAPPERS if all(key.startswith(prefix + name) for key in state)), ""):
        prefix += name
    return prefix


def _require_dense(tensors: Mapping[str, object], path: Path) -> None:
    others = [key for key, value in tensors.items() if not isinstance(value, Tensor)]
    if others:
        raise UserError(
            f"{path}: expected a state_dict of tensors, found other values under {listed(others, NAMED_AT_MOST)}"
        )
    strange = [key for key, value in tensors.items() if isinstance(value, Tensor) and not _is_dense(value)]
    if strange:
        raise UserError(
            f"{path}: expected dense tensors of real numbers, found others (meta, sparse, quantized or complex) under "
            f"{listed(strange, NAMED_AT_MOST)}: save the weights themselves"
        )


def _is_dense(value: Tensor) -> bool:
    return (
        value.device.type == "cpu"
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and not value.is_nested
    )


def _kind(value: object) -> str:
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    if isinstance(value.get("format"), str):
        return f"a file of format {value['format']!r}"
    return f"a dictionary with {listed(map(repr, value))}" if value else "nothing"
