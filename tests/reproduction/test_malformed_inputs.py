"""Presets, systems, MIRACL's files and command lines damaged in every place: one line that says where, or read.

In the manner of ``tests/hybridlib/test_malformed.py``; what may be read stands at each test with the reason.
"""

import gzip
import json

import numpy as np
import pytest
import yaml
from conftest import ROOT
from damaged import changed, places
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybridlib.data import CorpusError
from reproduction.commands import card, publish, reproduce, train
from reproduction.miracl import collection
from reproduction.run import Preset, SettingsError, System
from reproduction.sources import checks, training_sets
from reproduction.workspace import Workspace

OTHERS = (None, True, -7, float("nan"), float("inf"), 10 ** 400, "", "\u200b", "x/y", [], {}, [[7]], {"x": 7})
CONFIGS = {name: (ROOT / "configs" / f"{name}.yaml").read_text("utf-8") for name in ("mini", "xquad", "mmarco")}


def problem_of(folder, content):
    """What is wrong with a preset's file, None if it is read; fails on what a user cannot use."""
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "toy.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for data in (None, folder):
        try:
            Preset("toy", Workspace(root=folder, data=data))
        except SettingsError as error:
            assert "configs/toy.yaml: " in str(error) and str(error).isprintable() and len(str(error)) < 1500, error
            return str(error)
        except ValueError as error:
            assert "DATA" in str(error)
        else:
            return None
    raise AssertionError("wants a folder, and wants none")


@pytest.mark.parametrize("name", CONFIGS)
def test_presets_with_other_values(tmp_path, name):
    """Read are: alpha and trainable_layers may be null, truth values may be true, an encoder,
    a file, a folder and the set that is held out of may have any printable name, and a whole number may be large."""
    config, refused = yaml.safe_load(CONFIGS[name]), 0
    for path in places(config):
        if path[-2:-1] in (("languages",), ("clusters",)) and path[-1] > 1:
            continue  # as the first two
        # The same code reads all three: some values show that it reaches what the larger ones have beside mini's.
        for other in OTHERS if name == "mini" else OTHERS[::4]:
            problem = problem_of(tmp_path, yaml.safe_dump(changed(config, path, other)))
            last = path[-1]
            may_be_read = (
                (other is None and last in ("trainable_layers", "alpha"))
                or (other is True and last in ("pair_per_batch", "hard_negatives", "needs_folder"))
                or (other == "x/y" and ("clusters" in path[:-1]
                                        or last in ("encoder", "file", "folder", "held_out_of")))
                or (other == 10 ** 400 and last in ("batch_size", "steps", "warmup_steps", "max_length", "eval_steps",
                                                    "patience", "trainable_layers", "passages", "seed")))
            assert (problem is None) == may_be_read, (path, other, problem)
            refused += problem is not None
    assert refused > 100


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("steps: 40", "step: 40", "no setting 'step'"), ("steps: 40", "steps: 40\nsteps: 41", "steps is given twice"),
    ("format: articles, name", "format: articles, nam", "lacks name"), ("training:", "trainin:", "must say training"),
    ("steps: 40", "steps: 2020-99-99", "month must be"), ("steps: 40", "? [a]\n: 40", "line .*unhashable"),
    ("steps: 40", "steps: " + "[" * 3000, "nested too deeply"), ("steps: 40", "steps: *x", "undefined alias"),
    ("steps: 40", 'steps: "\\ud800"', "lone surrogate"), ("steps: 40", "steps: \x00", "special characters"),
    ("steps: 40", "steps: " + "9" * 5000, "4300"), ("steps: 40", "steps: !!python/name:os.system x", "tag"),
    ("steps: 40", "<<: 7", r"line \d+, column 1: .*merge"), ("steps: 40", "steps: &x [*x]", "steps is")])
def test_presets_with_other_lines(tmp_path, old, new, reason):
    assert CONFIGS["mini"].count(old) == 1
    with pytest.raises(SettingsError, match=reason):
        raise SettingsError(problem_of(tmp_path, CONFIGS["mini"].replace(old, new)))


def test_one_byte_of_a_preset_that_is_another(tmp_path):
    """Read is what changed a comment, a name or a digit."""
    lines = [line.split("#")[0] for line in CONFIGS["mini"].splitlines()]
    whole, rng = "\n".join(lines).encode(), np.random.default_rng(11)
    refused = 0
    for _ in range(100):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        refused += problem_of(tmp_path, bytes(content)) is not None
    assert 60 < refused < 100
    # The last setting is behind every cut; the file may lack its last line's end, or the end of "auto".
    assert all(problem_of(tmp_path, whole[:length]) for length in range(0, len(whole) - 16, 37))


PARTS = ["X-X", "X-Y", "Hybrid", "mixed", "untrained", " ", " + ", "=", "alpha", "0.4", "5e-5", "5.0e-5", "[", "]", ",",
         "null", "true", "subspace", ":", "4", "'", '"', "{", "}", "-", "é", "\n", "\x00", "\ud800", "&a", "*a",
         "!!int", "2020-01-01", ".nan", ".inf", "~", "#", "\t", "|", "%"]


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PARTS), max_size=7).map("".join)
       | st.lists(st.sampled_from(PARTS), max_size=4).map(lambda parts: "X-X temperature=" + "".join(parts)))
@example("X-X learning_rate=5.0e-5")
@example('X-X sets=["1"]')
@example("X-X sets=" + "[" * 3000)
@example("X-X alpha=2020-99-99")
@example("Hybrid alpha=.nan")
@example("X-X sets=[[de]]")
@example("X-X =1")
def test_a_system_is_refused_or_has_one_name(text):
    try:
        system = System.parse(text)
    except ValueError as error:
        assert type(error) is ValueError and str(error).isprintable() and len(str(error)) < 700
        return
    assert System.parse(str(system)) == system and hash(system) == hash(System.parse(str(system)))
    assert str(System.parse(str(system))) == str(system)


@pytest.mark.parametrize(("text", "reason"), [
    ("a\x00b", "no control characters"), ("a\u200bb", "no control characters"), ("a\ud800", "lone surrogates"),
    ("Hybrid alpha=.nan", "'.nan' is no value")])
def test_a_system_that_can_have_no_name(text, reason):
    with pytest.raises(ValueError, match=reason):
        System.parse(text)


@pytest.fixture
def release(tmp_path):
    name = "miracl-v1.0-sw"
    for kind, text in (("topics", "q1\tone two\n"), ("qrels", "q1\tQ0\t1#0\t1\n")):
        (tmp_path / name / kind).mkdir(parents=True)
        (tmp_path / name / kind / f"{kind}.{name}-dev.tsv").write_text(text)
    (tmp_path / "miracl-corpus-v1.0-sw").mkdir()
    docs = tmp_path / "miracl-corpus-v1.0-sw" / "docs-0.jsonl.gz"
    docs.write_bytes(gzip.compress(json.dumps({"docid": "1#0", "title": "t", "text": "x"}).encode(), mtime=0))
    return tmp_path


def problem_of_release(folder, name):
    try:
        collection.survey(collection.read_release(folder, "sw"))
    except CorpusError as error:
        assert len(error.problems) == 1 and error.problems[0].isprintable() and name in str(error)
        return str(error)
    return None


@pytest.mark.parametrize(("kind", "line"), [
    ("qrels", b"q1 Q0 1#0 1.0"), ("qrels", b"q1 Q0 1#0"), ("qrels", b"q1 Q0 1#0 \xd9\xa1"), ("qrels", b"q2 Q0 1#0 1"),
    ("qrels", b"q1 Q0 1#0 " + b"9" * 5000), ("qrels", b"\xff"), ("topics", b"q1"), ("topics", b"\tone"),
    ("topics", b"q2\t"), ("topics", b"q2\t\xff"), ("topics", b"\x1f\x8b")])
def test_lines_of_miracl(release, kind, line):
    file = next(release.glob(f"miracl-v1.0-sw/{kind}/*"))
    file.write_bytes(file.read_bytes() + line + b"\n" if line != b"\x1f\x8b" else line)
    assert problem_of_release(release, file.name)


@pytest.mark.parametrize("field", ["docid", "title", "text"])
@pytest.mark.parametrize("other", [None, True, 7, 1.5, [], {}, "\ud800"])
def test_passages_of_miracl(release, field, other):
    file = release / "miracl-corpus-v1.0-sw" / "docs-0.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"docid": "1#0", "title": "t", "text": "x"} | {field: other}).encode()))
    assert "docs-0.jsonl.gz:1: " in problem_of_release(release, file.name)


@pytest.mark.parametrize(("main", "arguments"), [
    (train.main, []), (train.main, ["--sampling", ""]), (train.main, ["--sampling", "\ud800"]),
    (train.main, ["--sampling", "X-X heat=1"]), (train.main, ["--sampling", "X-X", "--seed", "-1"]),
    (train.main, ["--sampling", "X-X", "--seed", "1.5"]), (train.main, ["--sampling", "untrained"]),
    (train.main, ["--sampling", "X-X", "--preset", ""]), (train.main, ["--sampling", "X-X", "--preset", "\x00"]),
    (train.main, ["--sampling", "X-X", "--data", "/nowhere"]),
    (train.main, ["--sampling", "X-X", "--preset", "\ud800"]),
    (train.main, ["--sampling", "X-X", "--preset", "xquad", "--data", "a\x00b"]),
    (train.main, ["--sampling", "X-X", "--preset", "xquad", "--data", "\ud800"]),
    (card.main, ["--sampling", "X-X"]), (card.main, ["--sampling", "untrained", "--out", "/nowhere/x"]),
    (card.main, ["--sampling", "X-X + subspace", "--out", "/nowhere/x"]),
    (publish.main, ["--preset", "maxi"]), (publish.main, ["--preset", ""]), (publish.main, ["--preset", "\x00"]),
    (reproduce.main, ["--seeds", "x"]), (reproduce.main, ["--seeds", "-1"]), (reproduce.main, ["--seeds"]),
    (reproduce.main, ["--evidence", "--fraction", "nan"]), (reproduce.main, ["--evidence", "--fraction", "2"]),
    (reproduce.main, ["--seeds", "0", "0"]),
    (reproduce.main, ["--preset", "xquad", "--data", "\x00"]), (checks.main, []), (checks.main, ["/nowhere"]),
    (checks.main, ["/"]), (checks.main, ["\x00"]), (training_sets.main, ["x", "--out", "/nowhere"]),
    (training_sets.main, ["wikiqa"]), (training_sets.main, ["wikiqa", "--out", "o", "--data", "/nowhere"])])
def test_command_lines(capsys, monkeypatch, main, arguments):
    # What is bad is found before this: nothing here may begin.
    monkeypatch.setattr(reproduce, "execute", lambda *_: pytest.fail("a notebook ran"))
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code not in (0, None)
    said = stopped.value.code if isinstance(stopped.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    assert "error: " in said
