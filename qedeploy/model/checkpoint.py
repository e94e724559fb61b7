"""model.pth: a network with the structure, profile and recipe it came from, read without running any code in it."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qedeploy.contents import HEAD_BYTES, ContentKind, sniff
from qedeploy.errors import RequestError, UserError
from qedeploy.files import read_bytes, write_bytes
from qedeploy.model import image_settings
from qedeploy.model.foreign_state import require_plain_archive, without_wrappers
from qedeploy.model.image_settings import ImageSettings
from qedeploy.model.inspection import describe_foreign, require_sound, require_state
from qedeploy.model.network import (
    DevicePoint,
    QuantizedNetwork,
    quantizers,
    signed_activations,
    use_device_grids,
)
from qedeploy.model.rounding import SMALLEST_STEP
from qedeploy.network.layers import expand_layers
from qedeploy.network.structure import Structure
from qedeploy.network.structure_file import from_document, to_document

FORMAT = "qedeploy/1"
_FAMILY = "qedeploy/"
_KEYS = {"structure": dict, "profile": str, "recipe": dict, "signed_activations": list, "state_dict": dict}
_MEND = "write one with `qedeploy search`, or with save_checkpoint after training"
_ZIP_MAGIC = b"PK\x03\x04"
_MODEL = "model.pth"
_FOLDER = 0x10
"""The bit of a zip entry's attributes that marks a folder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A network to train or export, with the name of its profile and the recipe that found its structure.

    `network` comes from `load_checkpoint` in evaluation mode: call `network.train()` before training it. `images` says
    how pictures were prepared in training, None where nothing trained the network on pictures yet.
    """

    network: QuantizedNetwork
    profile: str
    recipe: Mapping[str, Any]
    images: ImageSettings | None = None

    @property
    def structure(self) -> Structure:
        """The network's Structure."""
        return self.network.structure

    def save(self, path: Path | str) -> Path:
        """Write the checkpoint with the network's weights as they are now; see `save_checkpoint`."""
        return save_checkpoint(path, self.network, profile=self.profile, recipe=self.recipe, images=self.images)


def save_checkpoint(
    path: Path | str,
    network: nn.Module,
    *,
    profile: str,
    recipe: Mapping[str, Any],
    images: ImageSettings | None = None,
) -> Path:
    """Write `network` to `path`, whole or not at all, and return the path; equal content makes equal bytes.

    A wrapper (DataParallel, torch.compile) is taken off; floating point becomes float32. `profile` is a profile's name
    or path, `recipe` plain JSON data. Raises UserError, and writes nothing, where the network is not one of ours, the
    recipe is not plain data, a weight is NaN or infinite, or the file cannot be written.
    """
    path = Path(path)
    unwrapped = _unwrap(network)
    state = _portable_state(unwrapped)
    require_sound(state, path)
    document = {
        "format": FORMAT,
        "structure": _plain(to_document(unwrapped.structure), f"{path}: structure"),
        "profile": _interned(profile),
        "recipe": _plain(recipe, f"{path}: recipe"),
        "signed_activations": _plain(signed_activations(unwrapped), "signed_activations"),
        "state_dict": state,
        **_training_entries(unwrapped, images),
    }
    # Through memory: torch names the archive's root after the file, which here is a temporary one.
    stream = io.BytesIO()
    torch.save(document, stream)
    return write_bytes(path, stream.getvalue())


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Return what `save_checkpoint` wrote, on the CPU and in evaluation mode.

    Never runs code from the file. Raises UserError naming the file, what was found and what was expected, where it is
    anything but a whole checkpoint whose weights fit its structure and are finite.
    """
    path = Path(path)
    document = _read_document(path)
    structure = from_document(document["structure"], f"{path}: structure")
    network = _empty_network(structure, document, path)
    state = without_wrappers(document["state_dict"])
    require_state(state, network.state_dict(), path)
    require_sound(state, path)
    state = {key: value.to(torch.float32) if value.is_floating_point() else value for key, value in state.items()}
    network.load_state_dict(state, assign=True)
    _mark_set_steps(network, document.get("set_steps", []), path)
    images = document.get("images")
    return Checkpoint(
        network=network.eval(),
        profile=document["profile"],
        recipe=_plain(document["recipe"], f"{path}: recipe"),
        images=None if images is None else image_settings.from_document(images, f"{path}: images"),
    )


def _training_entries(network: QuantizedNetwork, images: ImageSettings | None) -> dict[str, Any]:
    """Return what only training adds to a checkpoint, each entry only where there is something to say."""
    entries: dict[str, Any] = {}
    if images is not None:
        entries["images"] = _plain(image_settings.to_document(images), "images")
    if network.device_points is not None:
        points = [{"value": one.value, "bits": one.bits, "signed": one.signed} for one in network.device_points]
        entries["device_points"] = _plain(points, "device_points")
    untrained = _set_steps(network)
    if untrained:
        entries["set_steps"] = _plain(untrained, "set_steps")
    return entries


def _set_steps(network: QuantizedNetwork) -> list[str]:
    """Return the names of activation quantizers whose step was set and then not trained."""
    return [
        name
        for name, quantizer in quantizers(network)
        if bool(quantizer.initialized) and not quantizer.trained and not name.endswith("weight_quantizer")
    ]


def _mark_set_steps(network: QuantizedNetwork, names: object, path: Path) -> None:
    known = dict(quantizers(network))
    if not isinstance(names, list):
        raise UserError(f"{path}: set_steps: expected a list, found a {type(names).__name__}")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise UserError(f"{path}: set_steps: expected names of quantizers, found {name!r}; {_MEND}")
        known[name].trained = False


def _device_points(data: object, path: Path) -> tuple[DevicePoint, ...]:
    if not isinstance(data, list):
        raise UserError(f"{path}: device_points: expected a list, found a {type(data).__name__}; {_MEND}")
    points = []
    for item in data:
        match item:
            case {"value": str(value), "bits": int(bits), "signed": bool(signed)} if 2 <= bits <= 8:
                points.append(DevicePoint(value=value, bits=bits, signed=signed))
            case _:
                raise UserError(
                    f"{path}: device_points: expected a value's name, 2 to 8 bits and whether they are signed, found "
                    f"{item!r}; {_MEND}"
                )
    return tuple(points)


def checkpoint_file(path: Path) -> Path:
    """Return the checkpoint that `path` stands for: itself, or the model.pth of the folder of a run that it is.

    Raises UserError, naming the checkpoints that lie there, for a folder without model.pth.
    """
    if not path.is_dir():
        return path
    if (path / _MODEL).is_file():
        return path / _MODEL
    there = sorted(str(file) for file in path.glob("*.pth"))
    hint = f"name the one in it: {' or '.join(there[:4])}" if there else f"it holds no {_MODEL}; {_MEND}"
    raise UserError(f"{path}: is a folder, expected a checkpoint file: {hint}")


def _empty_network(structure: Structure, document: Mapping[str, Any], path: Path) -> QuantizedNetwork:
    signed = document["signed_activations"]
    names = {layer.name for layer in expand_layers(structure)}
    for name in signed:
        if not isinstance(name, str) or name not in names:
            raise UserError(f"{path}: signed_activations: expected names of layers, found {name!r}; {_MEND}")
    try:
        # On the meta device: a structure that lies about its size must not take the memory it claims.
        with torch.device("meta"):
            network = QuantizedNetwork(structure, signed_activations=signed)
            if "device_points" in document:
                use_device_grids(network, _device_points(document["device_points"], path))
            return network
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def _read_document(path: Path) -> dict[str, Any]:
    value = _read_archive(path)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise UserError(f"{path}: expected a {FORMAT} checkpoint, found {_other_format(value, found)}; {_MEND}")
    for key, kind in _KEYS.items():
        if not isinstance(value.get(key), kind):
            there = f"a {type(value[key]).__name__}" if key in value else "nothing"
            raise UserError(f"{path}: {key}: expected a {kind.__name__}, found {there}; {_MEND}")
    document: dict[str, Any] = value
    return document


def _other_format(value: object, found: object) -> str:
    if isinstance(found, str) and found.startswith(_FAMILY):
        return f"{found}, which another version of qedeploy wrote: load it with that one"
    return describe_foreign(value)


def _read_archive(path: Path) -> Any:
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected a checkpoint file: name the {_MODEL} in it")
    if not path.exists():
        raise UserError(f"{path}: no such file, expected a checkpoint: {_MEND}")
    content = read_bytes(path)
    if not content.startswith(_ZIP_MAGIC):
        raise UserError(f"{path}: expected a {FORMAT} checkpoint, found {_what_is(content)}")
    try:
        names = _checked_names(content)
    except Exception as error:  # A damaged archive makes zipfile raise a dozen kinds, and all of them mean this.
        raise UserError(f"{path}: truncated or damaged: copy it again or write it again") from error
    if not any(name.endswith("/data.pkl") for name in names):
        found = "a zip archive that torch.save did not write"
        raise UserError(f"{path}: expected a {FORMAT} checkpoint, found {found}; {_MEND}")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # What torch raises for a strange file is not documented, and all of it means this.
        raise UserError(f"{path}: {_refusal(error)}; {_MEND}") from error


def _checked_names(content: bytes) -> list[str]:
    """Return the names in a zip archive; raises an exception of some kind where a byte of it changed."""
    names = require_plain_archive(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # PyTorch checks no sums, and leaves the memory of what claims to be a folder as it found it.
        if archive.testzip() is not None or any(entry.external_attr & _FOLDER for entry in archive.infolist()):
            raise zipfile.BadZipFile
    return names


def _what_is(content: bytes) -> str:
    found = sniff(content[:HEAD_BYTES])
    match found.kind:
        case ContentKind.PICKLE:
            return f"{found.name}, which is never loaded because it can run code; {_MEND}"
        case ContentKind.SAFETENSORS:
            return f"{found.name}: with the structure of its network, `qedeploy import --checkpoint` reads it"
        case ContentKind.ONNX:
            return f"{found.name}: `qedeploy bench` measures it as it is"
    return f"{found}" if found.mend else f"{found}; {_MEND}"


def _refusal(error: Exception) -> str:
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named:
        return (
            f"expected tensors and plain data, found a Python object ({named.group(1)}), which is never loaded because "
            "it can run code: save the network's weights, not the object"
        )
    return f"expected a {FORMAT} checkpoint, found an archive that PyTorch cannot load ({type(error).__name__})"


def _unwrap(network: nn.Module) -> QuantizedNetwork:
    inner: object = network
    while isinstance(inner, nn.Module) and not isinstance(inner, QuantizedNetwork):
        inner = getattr(inner, "module", getattr(inner, "_orig_mod", None))
    if not isinstance(inner, QuantizedNetwork):
        raise UserError(
            f"expected a network that build or load_checkpoint returned, found a {type(network).__name__}: "
            "give that network itself"
        )
    return inner


def _portable_state(network: QuantizedNetwork) -> dict[str, Tensor]:
    state = {}
    for key, value in network.state_dict().items():
        tensor = value.detach().to("cpu")
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        if key.endswith(".step"):
            # The optimizer's last update may have gone below zero; the next forward would lift it just so.
            tensor = tensor.clamp(min=SMALLEST_STEP)
        state[_interned(key)] = tensor.clone(memory_format=torch.contiguous_format)
    return state


def _plain(value: object, where: str) -> Any:
    """Return a copy of JSON-like data; raises UserError where it holds anything else, which could not be read back.

    Subclasses, enumerations for instance, become the plain value: they would be Python objects in the file. Strings
    are interned, because a pickle tells equal strings from identical ones, and equal content must make equal bytes.
    """
    match value:
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise UserError(f"{where}: expected names as keys, found {key!r}: give plain JSON data")
            return {_interned(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case str():
            return _interned(value)
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
    raise UserError(f"{where}: expected plain JSON data, found a {type(value).__name__}")


def _interned(text: str) -> str:
    return sys.intern(str.__str__(text))
