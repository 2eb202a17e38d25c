"""Files that appear whole or not at all, runs that are alone in a folder, and digests of what files hold."""

import errno
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from hybridlib.errors import RunError

if TYPE_CHECKING:
    import numpy as np

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of a full disk only Python's own writers say it with a number: safetensors, torch, numpy and shutil say it in words.
_NO_ROOM_WORDS = re.compile(rf"(os error|Errno) ({'|'.join(map(str, _NO_ROOM))})\b|PytorchStreamWriter failed writing|"
                            r"iostream error|unexpected pos \d+ vs \d+|\d+ requested and \d+ written")


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(folder: str | Path) -> str:
    """Hex digest of all files under a folder, by their names and bytes: another one as soon as any of them changes."""
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        stat = file.stat()
        digest.update(f"{file.relative_to(folder)} {_sha256(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """A file is read again in the same process only if its size or time of change is another."""
    return sha256(path)


def key(settings: dict[str, Any]) -> str:
    """Hex digest of a JSON-serialisable settings dict, independent of the order of its keys.

    >>> key({"alpha": 0.5, "seed": 0}) == key({"seed": 0, "alpha": 0.5})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with room(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def room(path: str | Path) -> Iterator[None]:
    """Name ``path``, in one line, where writing to it fails since the disk is full, whatever the writer raises.

    Raises
    ------
    OSError
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in _NO_ROOM and not _NO_ROOM_WORDS.search(str(error)):
            raise
        raise OSError(f"{path}: cannot be written, there is no room for it; make room and run again") from error


def sweep(folder: str | Path) -> None:
    """Remove what killed runs have left of `atomic` in a folder; for who is `alone` in it."""
    for file in Path(folder).glob(".*.tmp"):
        if re.search(r"\.\d+\.tmp$", file.name) and file.is_file():
            file.unlink()


@contextmanager
def alone(folder: str | Path, wait: bool = False) -> Iterator[None]:
    """Hold ``.<name>.lock`` beside a folder, as one run at a time can; that of a killed run is free again.

    Parameters
    ----------
    folder : path
        There or not yet.
    wait : bool
        Say that another run holds it and wait for its end, instead of refusing.

    Raises
    ------
    RunError
        If another run holds it.
    """
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise RunError(f"{folder}: another run is at work in it; wait until it has ended, or stop it") from None
        print(f"{folder}: another run is at work in it; waiting until it has ended", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        # Held until it has no name: who opened it before sees that (filelock counts its links), and makes a new one.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def save_array(path: str | Path, array: "np.ndarray") -> None:
    """Write what `numpy.save` writes, atomically; that is silent where the disk has no room for the last bytes."""
    from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0

    with atomic(path) as temporary, open(temporary, "wb") as file:
        write_array_header_1_0(file, header_data_from_array_1_0(array))
        file.write(array.tobytes("A"))


def check_writable(folder: str | Path) -> None:
    """Raise OSError unless files can be written to a folder, there or not yet; for before the work."""
    if "\0" in str(folder):
        raise OSError(f"{str(folder)!r}: cannot be written, a name holds no null character")
    place = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise OSError(f"{folder}: cannot be written, {place} is {'read-only' if place.is_dir() else 'a file'}")


def size(folder: str | Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
