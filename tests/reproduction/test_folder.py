"""Files appear whole or not at all; a key is a function of the settings."""

import pytest

from hybridlib import runs


def test_key_is_a_function_of_the_settings():
    assert runs.key({"a": 1, "b": [2, {"c": 3}]}) == runs.key({"b": [2, {"c": 3}], "a": 1})
    assert runs.key({"alpha": 0.5}) != runs.key({"alpha": 0.51})


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), runs.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with runs.atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_publish_replaces_what_stood_there(tmp_path):
    for name in ("run", ".run.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    runs.publish(tmp_path / ".run.tmp", tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "who").read_text() == ".run.tmp"
