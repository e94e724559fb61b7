"""Reading what a user names and writing what a command promises, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qedeploy.errors import UserError


def read_bytes(path: Path) -> bytes:
    """Return the bytes of `path`; raises UserError with the reason where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Return the UTF-8 text of `path`; raises UserError where it cannot be read or is not UTF-8 text."""
    return decode_text(read_bytes(path), path)


def decode_text(content: bytes, source: Path | str) -> str:
    """Return `content` as UTF-8 text; raises UserError naming `source` where it is not."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 text (byte {error.start}): is it the right file?") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` that takes its place when the block ends well.

    A killed process leaves the old file or the new one, never half of one. Folders are made as needed.
    Raises UserError where the folder or disk does not take the file; the temporary file is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _publish(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file and rename it to `path`; returns `path`."""
    with replacing(path) as temporary:
        write(temporary)
    return path


def json_text(document: object) -> str:
    """Return what a JSON file of `document` holds; raises ValueError for numbers that JSON does not have (NaN)."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: Path, document: object) -> Path:
    """Write `document` as JSON to `path`, whole or not at all; returns `path`."""
    return write_text(path, json_text(document))


def slug(text: str) -> str:
    """Return `text` as a part of a file's name: small letters, digits and dots, all else a hyphen."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all; returns `path`."""
    return write_with(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, content: str) -> Path:
    """Write `content` as UTF-8 to `path`, whole or not at all; returns `path`."""
    return write_bytes(path, content.encode("utf-8"))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as lower-case hex digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _publish(temporary: Path, path: Path) -> None:
    # mkstemp makes files private; what a command writes follows the umask like any other file.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"{path}: cannot be written: {reason}; free space, mend permissions, or choose another --out")
