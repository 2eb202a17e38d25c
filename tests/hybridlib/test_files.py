"""Files appear whole or not at all; a key is a function of the settings."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridlib import files
from hybridlib.errors import RunError

choices = st.dictionaries(st.text(max_size=5), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=4))


def test_key_is_a_function_of_the_settings():
    assert files.key({"a": 1, "b": [2, {"c": 3}]}) == files.key({"b": [2, {"c": 3}], "a": 1})
    assert files.key({"alpha": 0.5}) != files.key({"alpha": 0.51})
    # Written down once: another digest, and every run of everyone would be trained anew.
    assert files.key({"alpha": 0.5, "seed": 0, "languages": ["de", "ü"]}) == "bbf1d90856d851ea"


@settings(max_examples=40, deadline=None)
@given(choices)
def test_key_forgets_the_order_and_survives_a_file(chosen):
    backwards = dict(reversed(chosen.items()))
    assert files.key(chosen) == files.key(backwards) == files.key(json.loads(json.dumps(chosen)))
    assert len(files.key(chosen)) == 16 and int(files.key(chosen), 16) >= 0


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old", "not before it is whole"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_atomic_makes_the_folder(tmp_path):
    with files.atomic(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_json_is_written_to_be_read_by_people(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": "ü", "a": [1]})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n "b": "ü",\n "a": [\n  1\n ]\n}\n'


def test_digest_and_size(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "inner" / "b").write_bytes(b"defgh")
    # The digest of "abc" in FIPS 180-2.
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "inner" / "b") == hashlib.sha256(b"defgh").hexdigest()
    assert files.size(tmp_path) == 8 and files.size(tmp_path / "nowhere") == 0


def test_one_run_at_a_time_is_alone_in_a_folder(tmp_path):
    with files.alone(tmp_path / "run"):
        with pytest.raises(RunError, match="run: another run is at work in it; wait"), files.alone(tmp_path / "run"):
            pass
        with files.alone(tmp_path / "other"):
            pass
    assert list(tmp_path.iterdir()) == [], "no lock is left"
    with files.alone(tmp_path / "run"):
        pass


def test_a_second_run_waits_until_the_first_has_ended(tmp_path, capsys):
    order, said = [], ""

    def second():
        with files.alone(tmp_path / "run", wait=True):
            order.append("second")
            # The first has removed the file that this one has waited at: what it holds must count all the same.
            with pytest.raises(RunError, match="another run"), files.alone(tmp_path / "run"):
                pass
    with ThreadPoolExecutor(1) as pool:
        with files.alone(tmp_path / "run"):
            waiting = pool.submit(second)
            for _ in range(1000):
                said += capsys.readouterr().err
                if said:
                    break
                time.sleep(0.01)
            time.sleep(0.2)
            order.append("first")
        waiting.result(20)
    assert said == f"{tmp_path / 'run'}: another run is at work in it; waiting until it has ended\n"
    assert order == ["first", "second"] and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is forked")
def test_the_lock_of_a_killed_run_is_free(tmp_path):
    def killed():
        with files.alone(tmp_path / "run"):
            os.kill(os.getpid(), signal.SIGKILL)
    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".run.lock"], "the case leaves no lock"
    with files.alone(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []
