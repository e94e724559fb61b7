"""Reading what a user names and writing what a command promises, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qedeploy.contents import HEAD_BYTES, ContentKind, sniff
from qedeploy.errors import UserError
from qedeploy.folder_lock import hold_file, hold_folder
from qedeploy.publishing import carry_on, group_of, where_written

LARGEST_FILE = 4 << 30
"""Bytes of a file that is read whole at the most: twice what an ONNX file can have."""

LARGEST_TEXT = 512 << 20
"""Bytes of a text at the most; a recording of queries takes 300 for each."""

_OPEN_PIPES = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Pipes that the shell has opened for us, `<(command)` for instance: their other end is there."""


_RAW = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def require_file(path: Path, limit: int = LARGEST_FILE) -> None:
    """Raise UserError where `path` is no file that can be read, or larger than `limit` bytes."""
    try:
        status = where_written(path).stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path}: is a folder, expected a file")
    if not stat.S_ISREG(status.st_mode) and not (stat.S_ISFIFO(status.st_mode) and str(path).startswith(_OPEN_PIPES)):
        raise UserError(
            f"{path}: is a device, a pipe or a socket, expected a file: write what it gives to a file first"
        )
    if status.st_size > limit:
        raise _too_large(path, limit)


def read_bytes(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """Return the bytes of `path`, `limit` at the most; raises UserError with the reason where it cannot be read."""
    require_file(path, limit)
    try:
        with where_written(path).open("rb") as stream:
            # One byte more than allowed: a file may grow, and a pipe says nothing of its size.
            content = stream.read(limit + 1) if limit < LARGEST_FILE else stream.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def read_head(path: Path) -> bytes:
    """Return the first bytes of `path`, enough to tell what it is; raises UserError where it cannot be read."""
    require_file(path)
    try:
        with where_written(path).open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_text(path: Path, limit: int = LARGEST_TEXT) -> str:
    """Return the UTF-8 text of `path`; raises UserError where it cannot be read, is too large or is not UTF-8 text."""
    return decode_text(read_bytes(path, limit), path)


def decode_text(content: bytes, source: Path | str) -> str:
    """Return `content` as UTF-8 text; raises UserError that says what it is where it is not."""
    found = sniff(content[:HEAD_BYTES])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = "" if found.kind in {ContentKind.TEXT, ContentKind.UNKNOWN} else f", found {found}"
        raise UserError(f"{source}: not UTF-8 text (byte {error.start}){what}: is it the right file?") from error
    if found.kind in {ContentKind.POINTER, ContentKind.PAGE}:
        raise UserError(f"{source}: found {found}")
    return text


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` that takes its place when the block ends well.

    A killed process leaves the old file or the new one, never half of one. Folders are made as needed. Where it
    ends within a `publishing.together` of this folder, it takes its place when that does.
    Raises UserError where the folder or disk does not take the file; the temporary file is removed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary, grouped = Path(name), False
    try:
        yield temporary
        _make_lasting(temporary)
        if (group := group_of(path)) is not None:
            group.add(path, temporary)
            grouped = True
        else:
            temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if not grouped:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def working_in(folder: Path | None) -> Iterator[None]:
    """Hold a folder for a command that writes it, alone, and leave it as whole as one finds it; nothing for None.

    Raises UserError, naming the process, where another works there.
    """
    if folder is None:
        yield
        return
    with hold_folder(folder):
        carry_on(folder)
        yield


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold a file for a command that writes it, and files named after it; raises as `working_in`."""
    with hold_file(path):
        carry_on(path.parent)
        yield


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file and rename it to `path`; returns `path`."""
    with replacing(path) as temporary:
        write(temporary)
    return path


def json_text(document: object) -> str:
    """Return what a JSON file of `document` holds; raises ValueError for numbers that JSON does not have (NaN)."""
    # What JSON leaves as it is and a terminal obeys, or UTF-8 does not have, only ever stands inside of its strings.
    return _RAW.sub(
        lambda found: f"\\u{ord(found.group()):04x}",
        json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
    )


def write_json(path: Path, document: object) -> Path:
    """Write `document` as JSON to `path`, whole or not at all; returns `path`."""
    return write_text(path, json_text(document))


def real_path(path: Path) -> Path:
    """Return where `path` leads, links followed; of links in a circle the path as far as it leads."""
    # Path.resolve raises RuntimeError for a circle in Python 3.11 and 3.12.
    return Path(os.path.realpath(path))


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


def _make_lasting(temporary: Path) -> None:
    # mkstemp makes files private; what a command writes follows the umask like any other file.
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())


def _unreadable(path: Path, error: OSError | ValueError) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else None
    return UserError(f"{path}: cannot be read: {reason or error}")


def _too_large(path: Path, limit: int) -> UserError:
    return UserError(f"{path}: expected at most {limit:,} bytes, found more: is it the right file?")


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"{path}: cannot be written: {reason}; free space, mend permissions, or choose another --out")
