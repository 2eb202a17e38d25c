"""Files that appear whole or not at all, and digests of what they hold."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


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
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def check_writable(folder: str | Path) -> None:
    """Raise OSError unless files can be written to a folder, there or not yet; for before the work."""
    place = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise OSError(f"{folder}: cannot be written, {place} is {'read-only' if place.is_dir() else 'a file'}")


def size(folder: str | Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
