"""Reading .npy and .npz files of other people's, whatever is wrong with them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qedeploy.contents import found_instead
from qedeploy.errors import UserError
from qedeploy.files import read_head, require_file
from qedeploy.units import format_bytes


@contextmanager
def opened_arrays(path: Path, limit: int | None = None) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Yield the arrays of an .npz file by name, read where they are asked for, or the one of an .npy file as "".

    Raises UserError for a file that is damaged, or that unpacks to more than `limit` bytes or the free memory; lets the
    caller's own pass.
    """
    require_file(path)
    try:
        if zipfile.is_zipfile(path):
            _require_memory(path, limit)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            yield {"": loaded}
        else:
            with loaded as archive:
                yield archive
    except (UserError, MemoryError):
        raise
    except Exception as error:  # A strange archive makes NumPy and zipfile raise a dozen kinds, all of which mean this.
        reason = " ".join(str(error).split()) or type(error).__name__
        # NumPy takes for a pickle whatever it does not know.
        found = found_instead(read_head(path)) if not _has_arrays(path) else ""
        reason = found or f" ({reason:.200}): write it with numpy.save or numpy.savez"
        raise UserError(f"{path}: not a readable array file{reason}") from error


def _has_arrays(path: Path) -> bool:
    return read_head(path).startswith((b"PK", b"\x93NUMPY"))


def array_of(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return an array by its name; raises ValueError where the archive holds something else under it."""
    found = arrays[name]
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name} is no array")
    return found


def _require_memory(path: Path, limit: int | None) -> None:
    import psutil

    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    free = psutil.virtual_memory().available
    if limit is not None and size > limit:
        raise UserError(f"{path}: unpacks to {format_bytes(size)}, expected at most {format_bytes(limit)}")
    if size > free:
        raise UserError(
            f"{path}: unpacks to {format_bytes(size)}, expected at most the {format_bytes(free)} of free memory"
        )
