"""The wheel, installed alone into an empty environment, outside the repository, and used there.

The dependencies take most of the time, and are the same until they are changed: they are installed by pip into a folder
of the user's cache that their list and the pins name. The environment itself is new each time: an interpreter, that
folder on its path, and the wheel, whose requirements pip finds met or not.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pooch
import pytest
from conftest import ROOT
from lowest import build_wheel

import hybridlib
from hybridlib.encoding.packaged import _FILE, _RELEASE, packaged_weights

SMOKE = Path(__file__).with_name("smoke.py")


def run(*command, **kwargs):
    """Run a program outside the repository, as if it were not there; what it printed, or an error that holds it."""
    # Byte code is kept, so that a second run of the tests does not compile the dependencies again.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          env=environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}, **kwargs)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"), "--no-build-isolation")


@pytest.fixture(scope="module")
def dependencies():
    """Folder with the core dependencies at the pinned versions and what those bring; no extra."""
    names = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    pins = (ROOT / "requirements.txt").read_bytes()
    of = hashlib.sha256("\n".join([sys.version, *names]).encode() + pins).hexdigest()[:16]
    # dill, and with it datasets, tells packages from a user's modules by this name.
    folder = Path(pooch.os_cache("hybridlib-wheel-test"), of, "site-packages")
    if not folder.is_dir():
        shutil.rmtree(folder.parent.parent, ignore_errors=True)
        folder.parent.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            packages = Path(temporary, "packages")
            try:
                run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", packages,
                    "--constraint", ROOT / "requirements.txt", *names, cwd=temporary)
            except AssertionError as error:
                if "connection broken by" in str(error):
                    pytest.skip("the core dependencies cannot be installed anew without a network")
                raise
            os.replace(packages, folder)
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory, dependencies):
    """The interpreter of a new environment that has the core dependencies and nothing else, pip included."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    Path(packages, "dependencies.pth").write_text(f"{dependencies}\n", "utf-8")
    return python


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"hybridlib", f"hybridlib-{hybridlib.__version__}.dist-info"}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hybridlib").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == here
    assert "hybridlib/py.typed" in names


@pytest.fixture(scope="module")
def alone(wheel, empty, tmp_path_factory):
    """The interpreter of that environment with the wheel in it."""
    # Without an index: the requirements of the wheel are met by what is there, or this fails.
    run(sys.executable, "-m", "pip", "--python", empty, "install", "--quiet", "--no-index", wheel,
        cwd=tmp_path_factory.mktemp("elsewhere"))
    return empty


@pytest.mark.slow
def test_it_works_alone_in_an_empty_environment(alone, tmp_path, capsys):
    printed = run(alone, SMOKE, cwd=tmp_path)
    assert "rank distance" in printed
    with capsys.disabled():
        print(f"\n  in an empty environment: {printed.splitlines()[-1]}")


@pytest.mark.slow
def test_the_examples_run_there_as_they_stand(alone, tmp_path, monkeypatch):
    # The weights are where a first use would have put them; faiss is the one thing that an example needs beside.
    weights, _ = packaged_weights()
    (tmp_path / "cache" / _RELEASE).mkdir(parents=True)
    (tmp_path / "cache" / _RELEASE / _FILE).symlink_to(weights)
    monkeypatch.setenv("HYBRIDLIB_DATA", str(tmp_path / "cache"))
    beside, packages = tmp_path / "packages", Path(sysconfig.get_path("purelib"))
    beside.mkdir()
    for name in ("faiss", "faiss_cpu.libs"):
        if (packages / name).exists():
            (beside / name).symlink_to(packages / name)
    # One process for all: what they import takes longer than what they do.
    program = ("import runpy, sys; sys.path.append(sys.argv[1]); "
               "[runpy.run_path(path, run_name='__main__') for path in sys.argv[2:]]")
    examples = sorted((ROOT / "examples").glob("*.py"))
    assert len(examples) == 4
    printed = run(alone, "-c", program, beside, *examples, cwd=tmp_path)
    assert "300 pairs in de, en, es, fr, pl" in printed and "saved and loaded again: (384,)" in printed
    assert len(re.findall("^multilingual mAP ", printed, re.MULTILINE)) == 2
    before, after = (re.findall("^  ([a-z]{2})  ", part, re.MULTILINE) for part in re.search(
        r"^before\n(.*?)^after\n(.*?)(?=^[^ ]|\Z)", printed, re.MULTILINE | re.DOTALL).groups())
    assert len(before) == len(after) == 5 and len(set(after)) > len(set(before))


def test_every_name_of_the_face_is_there():
    assert len(hybridlib.__all__) <= 20
    for name in hybridlib.__all__:
        assert getattr(hybridlib, name) is not None
        assert name in dir(hybridlib)
    with pytest.raises(AttributeError, match="'hybridlib' has no attribute 'evaluation_of'; it has HEADLINE, "):
        hybridlib.evaluation_of  # noqa: B018


def test_type_checkers_see_the_same_face():
    """The imports that only they follow, and the table that is used when the program runs."""
    import ast

    tree = ast.parse((ROOT / "hybridlib" / "__init__.py").read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in checked.body for alias in node.names}
    assert seen == hybridlib._HOME and sorted(seen) == sorted(hybridlib.__all__)
