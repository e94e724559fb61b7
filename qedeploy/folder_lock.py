"""Keeping two processes out of one folder, by locks of the system: they end with their process, however that ends.

A command that writes a folder holds it, one that writes a file there holds the file: nobody else then writes the same
file, or the whole folder, while files of other names can be written at the same time. All locks of a folder are bytes
of one file in it, which is gone when nobody holds anything; one that a killed process left is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from qedeploy.errors import UserError

LOCK_FILE = ".qedeploy.lock"

_FOLDER, _PUBLISHING, _FILES = 0, 1, 2
"""Bytes of the file: for the folder, for who renames files there just now, and the first one for a file by its name."""

_GRACE = 0.2
"""Seconds in which a lock may become free: who ends, or renames, holds one for some microseconds."""

_FLOCK = "hhqqi"
"""The C struct flock of Linux: type, whence, start, length, process."""

_SHARED, _ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX


@dataclass(slots=True)
class _Holding:
    """What this process holds of a folder: the open file, how often each byte, and the folders that were made for it.

    The first byte counts in `bytes` only where the folder is held; whoever holds another byte shares it.
    """

    descriptor: int
    made: list[Path]
    bytes: Counter[int] = field(default_factory=Counter)


_holdings: dict[Path, _Holding] = {}
_changing = threading.RLock()
_lasting: list[ExitStack] = []
# The locks stay the parent's.
os.register_at_fork(after_in_child=_holdings.clear)


@contextmanager
def until_the_end() -> Iterator[None]:
    """Hold all that is held within the block until the block ends: its steps let nobody in between."""
    with ExitStack() as stack:
        _lasting.append(stack)
        try:
            yield
        finally:
            _lasting.remove(stack)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a folder alone, made where it is missing; raises UserError, naming the process, where another is at work.

    A folder that was made and has nothing in it is removed in the end. Threads of one process are one user.
    """
    with ExitStack() as here:
        (_lasting[-1] if _lasting else here).enter_context(_held(folder, _FOLDER, _GRACE))
        yield


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Hold a file that is to be written, and with it what belongs to it; raises as `hold_folder`."""
    with ExitStack() as here:
        (_lasting[-1] if _lasting else here).enter_context(_held(path.parent, _byte_of(path), _GRACE, path))
        yield


@contextmanager
def in_turn(path: Path, seconds: float = 60.0) -> Iterator[None]:
    """Hold a file for a moment, and wait so long for whoever does so too: to read it, and write it changed."""
    with _held(path.parent, _byte_of(path), seconds, path):
        yield


@contextmanager
def publishing(folder: Path, seconds: float = 60.0) -> Iterator[None]:
    """Be the only one who renames several files of `folder`, and wait so long for another."""
    with _held(folder, _PUBLISHING, seconds):
        yield


def _byte_of(path: Path) -> int:
    return _FILES + zlib.crc32(os.fsencode(path.name))


@contextmanager
def _held(folder: Path, byte: int, patience: float, path: Path | None = None) -> Iterator[None]:
    # Path.resolve raises RuntimeError for links in a circle in Python 3.11 and 3.12.
    place = Path(os.path.realpath(folder))
    end = time.monotonic() + patience
    while True:
        with _changing:
            holder = _taken(place, byte, folder)
        if holder is None:
            break
        if time.monotonic() > end:
            raise UserError(
                f"{path or folder}: {_named(holder)} works there: wait until that has ended, or choose another --out"
            )
        time.sleep(_GRACE / 20)
    try:
        yield
    finally:
        with _changing:
            _release(place, byte)


def _taken(place: Path, byte: int, folder: Path) -> int | None:
    """Take a byte, and the folder's with it; returns None, or the number of a process that holds one of them."""
    holding = _holdings.get(place)
    if holding is None:
        try:
            holding = _opened(place)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"{folder}: cannot be written to: it is a file, or lies below one: choose another --out"
            ) from error
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written to: {error.strerror or error}; mend permissions, or choose another --out"
            ) from error
    descriptor, alone = holding.descriptor, holding.bytes[_FOLDER] > 0
    taken = alone or _lock(descriptor, _FOLDER, _ALONE if byte == _FOLDER else _SHARED)
    if taken and not holding.bytes and not _still_there(place, descriptor):
        # Who held it last has removed it between our opening and our locking.
        os.close(descriptor)
        return _taken(place, byte, folder)
    refused = _FOLDER if not taken else byte
    if taken and byte != _FOLDER and not holding.bytes[byte]:
        taken = _lock(descriptor, byte, _ALONE)
    if not taken:
        holder = _holder(descriptor, refused)
        if not holding.bytes:
            _close(place, holding)
        return holder
    _holdings[place] = holding
    holding.bytes[byte] += 1
    return None


def _opened(place: Path) -> _Holding:
    """Return the file of a folder, opened, and the folder made where it is missing."""
    made: list[Path] = []
    while True:
        missing = [parent for parent in (place, *place.parents) if not parent.exists()]
        place.mkdir(parents=True, exist_ok=True)
        made = [*made, *missing]
        # Who ends removes the folder that he made, if it is empty.
        with suppress(FileNotFoundError):
            descriptor = os.open(place / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            with suppress(OSError):
                # Another user of the folder is to be able to hold it too.
                os.fchmod(descriptor, 0o666)
            return _Holding(descriptor=descriptor, made=made)


def _release(place: Path, byte: int) -> None:
    holding = _holdings.get(place)
    if holding is None:
        # In a process that was forked within the block.
        return
    holding.bytes[byte] -= 1
    holding.bytes = +holding.bytes
    if not holding.bytes:
        del _holdings[place]
        _close(place, holding)
    elif not holding.bytes[byte]:
        # Whoever holds files goes on sharing the folder.
        fcntl.lockf(holding.descriptor, _SHARED if byte == _FOLDER else fcntl.LOCK_UN, 1, byte)


def _close(place: Path, holding: _Holding) -> None:
    """Close the file of a folder, and remove it where nobody holds anything there."""
    with suppress(OSError):
        fcntl.lockf(holding.descriptor, fcntl.LOCK_UN)
        if _lock(holding.descriptor, _FOLDER, _ALONE) and _still_there(place, holding.descriptor):
            (place / LOCK_FILE).unlink()
    os.close(holding.descriptor)
    with suppress(OSError):
        for folder in holding.made:
            folder.rmdir()


def _lock(descriptor: int, byte: int, kind: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # A file system without locks keeps nobody out; that is no reason not to work there.
        return True
    return True


def _still_there(place: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat((place / LOCK_FILE).stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int, byte: int) -> int:
    """Return the number of a process that holds `byte`, 0 where the system cannot tell."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    with suppress(OSError):
        found = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        return int(found[-1]) if found[0] != fcntl.F_UNLCK else 0
    return 0


def _named(process: int) -> str:
    """Return a process by number, command and start, as far as they are known: a network's disk has others' too."""
    try:
        import psutil
    except ImportError:
        return f"process {process}" if process else "another process"
    try:
        found = psutil.Process(process)
        words, began = found.cmdline(), datetime.fromtimestamp(found.create_time())
    except (psutil.Error, ValueError):
        return "another process"
    names = [Path(word).name for word in words]
    at = next((number for number, name in enumerate(names) if name in {"qedeploy", "qedeploy.exe"}), None)
    command = " ".join(["qedeploy", *words[at + 1 : at + 2]]) if at is not None else (names or ["unnamed"])[0]
    return f"process {process} ({command}, since {began:%H:%M:%S})"
