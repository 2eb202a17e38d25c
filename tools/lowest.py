"""Prove the lower bounds in pyproject.toml: install exactly those releases, and the wheel, and use them.

``python tools/lowest.py [FOLDER]`` makes a virtual environment in the folder (a temporary one by default; one that is
there is gone on with) and runs ``tests/hybridlib/smoke.py`` in it. On Linux the lowest torch brings 2.5 GB of CUDA.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lowest(dependencies: list[str]) -> list[str]:
    """The lowest release of each range.

    >>> lowest(["torch>=2.4", "tqdm>=4.66.3"])
    ['torch==2.4', 'tqdm==4.66.3']
    """
    without = [dependency for dependency in dependencies if ">=" not in dependency]
    if without:
        raise ValueError(f"pyproject.toml: give a lower bound (>=) to {', '.join(without)}")
    return [dependency.replace(">=", "==") for dependency in dependencies]


def build_wheel(folder: Path, *options: str) -> Path:
    """Build the library's wheel into a folder; of a copy, so that nothing is left in the repository."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("hybridlib", "reproduction"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *options, "--wheel-dir", folder,
                    source], check=True)
    return next(folder.glob("hybridlib-*.whl"))


def prove(folder: Path) -> None:
    """Install the lowest releases and the wheel into an environment, and run the program there."""
    pins = lowest(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"])
    print(*pins, sep="\n", flush=True)
    if not (folder / "pyvenv.cfg").is_file():
        venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as temporary:
        wheel = build_wheel(Path(temporary, "wheel"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins, wheel], check=True)
        subprocess.run([python, ROOT / "tests" / "hybridlib" / "smoke.py"], check=True, cwd=temporary, env=environment)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        prove(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            prove(Path(temporary, "environment"))
