"""Training sets, mMARCO and MIRACL's pool damaged in many places: refused by name in one line, or read as said here.

In the manner of ``tests/hybridlib/test_malformed.py``. What others publish is damaged byte by byte; of what was made
from it here, each file is cut.
"""

import gzip
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from damaged import changed, places
from test_mmarco import TRIPLES, lines_of, write
from test_training_sets import ROWS

from hybridlib.data import CorpusError
from reproduction.miracl import collection, task
from reproduction.run.remedies import check_remedy
from reproduction.sources import mmarco, training_sets, translation

TWO = ("de", "en")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)


def outcome(read, *names):
    """None if it was read, else the problem; fails on another exception, and on a message that names nothing."""
    try:
        read()
    except CorpusError as error:
        for problem in error.problems:
            assert any(name in problem for name in names), problem
            assert problem.isprintable() and len(problem) < 800, problem
        return str(error)
    return None


def pairs(name, folder, file, content):
    path = folder / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(training_sets.pairs_of(name, training_sets.load_published_set(name, folder / name)))


NEWSQA, MFAQ = ROWS["newsqa"][1], ROWS["mfaq"][1]
READ = {"type", "text", "questions", "q", "consensus", "s", "e"}


@pytest.mark.parametrize("path", [
    path for path in places(NEWSQA) if path[:2] == ("data", 0) and READ & set(path[-1:]) and path[3:4] in ((), (0,))])
def test_nested_fields_of_newsqa(tmp_path, path):
    """Read are: no questions, an empty question or text, and answers that the crowd did not agree on."""
    for other in (None, 7, -7, "", [], [None], {"x": 7}):
        problem = outcome(lambda: pairs("newsqa", tmp_path, ROWS["newsqa"][0], json.dumps(
            changed(NEWSQA, path, other))), "NewsQA", ROWS["newsqa"][0])  # noqa: B023
        may_be_read = ((other == "" and path[-1] in ("type", "text", "q")) or (other == [] and path[-1] == "questions")
                       or (other in (None, 7, -7) and path[-1] in ("s", "e"))
                       or (other == {"x": 7} and path[-1] == "consensus"))
        assert problem is None or not may_be_read or path[-1] in ("s", "e"), (path, other, problem)
        assert problem or may_be_read, (path, other)


@pytest.mark.parametrize(("consensus", "problem"), [
    ({"s": 30, "e": -2}, "no word stands at 30 to -2 of a text of 52 characters, in the row"),
    ({"s": -9, "e": -2}, "no word stands at -9 to -2"), ({"s": 30, "e": None}, None), ({"s": None, "e": 9}, None),
    ({"s": 99, "e": 120}, None), (None, "field 'questions.consensus' is null in the row")])
def test_an_answer_that_stands_nowhere(tmp_path, consensus, problem):
    rows = changed(NEWSQA, ("data", 0, "questions", 0, "consensus"), consensus)
    rows["data"][1]["type"] = "train"
    rows["data"][0]["text"] = "Harbour town.\n\nThe crane fell at noon. Nobody is hurt."[:52]
    found = outcome(lambda: pairs("newsqa", tmp_path, ROWS["newsqa"][0], json.dumps(rows)), "NewsQA")
    assert found is None if problem is None else problem in found


@pytest.mark.parametrize("line", [
    "null", "7", "[]", "{", "", "\xff", '{"qa_pairs": null}', '{"qa_pairs": [null]}', '{"qa_pairs": [{}]}',
    '{"qa_pairs": [{"question": null, "answer": "x"}]}', '{"qa_pairs": [{"question": "\\ud800", "answer": "x"}]}',
    '{"qa_pairs": 7}', '{"qa_pairs": [{"question": 7, "answer": "x"}]}'])
def test_lines_of_mfaq(tmp_path, line):
    """A line that is null would end the process in the library that reads it."""
    content = f"{json.dumps(MFAQ[0])}\n{line}\n".encode("latin-1")
    problem = outcome(lambda: pairs("mfaq", tmp_path, ROWS["mfaq"][0], content), "MFAQ", "train.jsonl")
    assert (problem is None) == (line == "")
    assert not problem or line.startswith("{") or "train.jsonl:2: " in problem


@pytest.mark.parametrize("content", ["", "null", "{}", "[]", "[null]", '[{"question": "?"}, 7]', "[" * 5000])
def test_whole_files_of_entityquestions(tmp_path, content):
    assert outcome(lambda: pairs("entityquestions", tmp_path, "P19.train.json", content), "P19.train.json")


@pytest.mark.parametrize("name", ["wikiqa", "mr-tydi"])
def test_one_byte_of_a_set_that_is_another_and_a_cut(tmp_path, name):
    """Read is what changed a letter, or a checksum that nobody looks at."""
    file, rows = ROWS[name]
    if name == "wikiqa":
        pa.parquet.write_table(pa.Table.from_pylist(rows), sink := pa.BufferOutputStream())
        whole = sink.getvalue().to_pybytes()
    else:
        whole = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)
    rng, refused = np.random.default_rng(17), 0
    for _ in range(30):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        refused += outcome(lambda: pairs(name, tmp_path, file, bytes(content)), name,  # noqa: B023
                           training_sets.SETS[name].title) is not None
    assert 12 < refused <= 30
    for length in range(0, len(whole) - 8, len(whole) // 5):
        assert outcome(lambda: pairs(name, tmp_path, file, whole[:length]), name)  # noqa: B023


@pytest.mark.parametrize("said", [
    "", "{", "null", "[]", "7", "{}", '{"sha256": 7}', '{"sha256": "x"}', '{"sha256": null}',
    '{"sha256": "ab", "groups": "x"}', '{"sha256": "ab", "languages": 7}', '{"sha256": "ab", "languages": [7]}',
    '{"sha256": "ab", "groups": NaN}', "\xff"])
def test_what_stands_beside_a_set(tmp_path, capsys, said):
    for name in ("wikiqa", "mmarco"):
        (tmp_path / f"{name}.json").write_bytes(said.encode("latin-1"))
        data = {"training": [{"format": "set", "name": name}], "selection": {"format": "groups", "file": "x"}}
        if said.startswith(('{"sha256": "ab"',)) and "NaN" not in said:
            assert outcome(lambda: training_sets.resolve(data, tmp_path), f"{name}.json: ")  # noqa: B023
        assert outcome(lambda: training_sets.resolve(data, tmp_path), f"{name}.json")  # noqa: B023
        with pytest.raises(SystemExit, match=f"error: (?s:.*){name}.json"):
            training_sets.main(["--out", str(tmp_path)])
        (tmp_path / f"{name}.json").unlink()
    assert capsys.readouterr().out == ""


@pytest.fixture
def published(tmp_path):
    for language in TWO:
        for side, rows in zip(("queries", "passages"), lines_of(language), strict=True):
            write(tmp_path / "published", mmarco.PUBLISHED[side].format(mmarco.LANGUAGES[language]), rows)
    write(tmp_path / "published", mmarco.TRIPLES, TRIPLES)
    return tmp_path / "published"


def use(folder):
    marco = mmarco.MarcoCorpus(folder)
    for group in range(len(marco)):
        for language in TWO:
            marco.pair(group, language, language, 0)
            marco.has(marco.query, language), marco.has(marco.passage, language)


@pytest.mark.parametrize("name", [mmarco.TRIPLES, *(x.format("german") for x in mmarco.PUBLISHED.values())])
def test_published_files_of_mmarco(published, tmp_path, name):
    """Read is what changed a letter, made a text empty, or an id that no triple has; and whole lines less."""
    file = published / name
    whole, rng, refused = file.read_bytes(), np.random.default_rng(19), 0
    for number in range(60):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        file.write_bytes(content)
        out = tmp_path / f"m{number}"
        refused += outcome(lambda: (mmarco.prepare(published, out, TWO), use(out)), file.name) is not None  # noqa: B023
    assert 10 < refused < 60
    for content in (b"", whole + b"99999999\ttext\n", whole + b"9" * 5000 + b"\tx\n", whole + b"\xff\n", b"\x1f\x8b"):
        file.write_bytes(content)
        assert outcome(lambda: mmarco.prepare(published, tmp_path / "m", TWO), file.name)
    file.write_bytes(b"5\t\n" if "triples" not in name else b"5\t5\t5\n")
    mmarco.prepare(published, tmp_path / "m", TWO)
    use(tmp_path / "m")


def test_prepared_files_of_mmarco_that_were_cut_or_changed(published, tmp_path):
    folder = tmp_path / "m"
    mmarco.prepare(published, folder, TWO)
    use(folder)
    for file in (folder.with_suffix(".json"), *sorted(folder.glob("*.*[!n]"))):
        whole = file.read_bytes()
        for length in range(0, len(whole), len(whole) // 12 + 1):
            file.unlink()
            file.write_bytes(whole[:length])
            assert outcome(lambda: use(folder), file.name, f"{folder}: holds"), (file, length)
        file.unlink()
        file.write_bytes(whole)
    for said in ("[]", '{"languages": ["en"]}', '{"languages": 7, "missing": {}, "groups": 8}',
                 '{"languages": ["en"], "missing": {}, "groups": 7}'):
        folder.with_suffix(".json").write_text(said)
        assert outcome(lambda: use(folder), "m.json", f"{folder}: holds")
    (folder / "triples.json").write_text("{}")
    assert outcome(lambda: mmarco.prepare(published, folder, TWO), "triples.json: must say sha256")
    (folder / "triples.json").unlink()
    np.save(folder / "queries.de.rows.npy", np.full(200, 5, np.int32))
    mmarco.prepare(published, folder, TWO)
    assert outcome(lambda: use(folder), "queries.de.rows.npy: does not belong to the texts")


POOL = {"corpus": [{"id": f"1#{i}", "title": "t", "text": "x"} for i in range(2)],
        "queries": [{"id": "q1", "text": "one"}, {"id": "q2", "text": "two"}],
        "qrels": [{"query-id": f"q{i}", "corpus-id": f"1#{i - 1}", "score": i} for i in (1, 2)]}


def problem_of_pool(folder, kind, content):
    for part, rows in POOL.items():
        file = folder / f"sw-{part}" / "dev-0.parquet"
        file.parent.mkdir(exist_ok=True)
        rows = content if part == kind else rows
        if isinstance(rows, bytes):
            file.write_bytes(rows)
        else:
            pa.parquet.write_table(pa.Table.from_pylist(rows), file)
    return outcome(lambda: collection.survey(collection.read_hard_negatives("sw", folder)), "sw-")


@pytest.mark.parametrize(("kind", "column"), [(kind, column) for kind, rows in POOL.items() for column in rows[0]])
def test_columns_of_the_hard_negatives(tmp_path, kind, column):
    """A passage may have no title or no text; a score may be a float that is a whole number."""
    others = (None, True, 1.5, float("nan"), float("inf"), 10 ** 18, "", ["x"], b"\xff")
    for other in others if column in ("score", "title") else (*others[::2], ""):
        problem = problem_of_pool(tmp_path, kind, [row | {column: other} for row in POOL[kind]])
        may_be_read = other == "" and column in ("title", "text", "corpus-id") and kind != "queries"
        assert (problem is None) == may_be_read, (other, problem)
    if column == "score":
        assert problem_of_pool(tmp_path, kind, [row | {"score": 1.0} for row in POOL[kind]]) is None


def test_files_of_the_hard_negatives(tmp_path):
    pa.parquet.write_table(pa.Table.from_pylist(POOL["queries"]), sink := pa.BufferOutputStream())
    whole, rng, refused = sink.getvalue().to_pybytes(), np.random.default_rng(23), 0
    for length in (0, 4, len(whole) // 2, len(whole) - 1):
        assert "sw-queries" in problem_of_pool(tmp_path, "queries", whole[:length])
    for _ in range(20):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        refused += problem_of_pool(tmp_path, "queries", bytes(content)) is not None
    assert 10 < refused <= 20


@pytest.mark.parametrize(("main", "arguments"), [
    (task.main, []), (task.main, ["--model", "x"]), (task.main, ["--model", "", "--out", "OUT"]),
    (task.main, ["--model", "x", "--out", "OUT", "--languages"]), (task.main, ["--model", "./no", "--out", "OUT"]),
    (task.main, ["--model", "x", "--out", "OUT", "--languages", "en"]),
    (task.main, ["--model", "x", "--out", "/dev/null/x"]), (task.main, ["--model", "x", "--out", "\x00"]),
    (translation.main, []), (translation.main, ["FILE"]), (translation.main, ["nowhere", "--out", "OUT"]),
    (translation.main, [".", "--out", "OUT"]), (translation.main, ["", "--out", "OUT"]),
    (translation.main, ["\x00", "--out", "OUT"]), (translation.main, ["FILE", "--out", "FILE"]),
    (translation.main, ["FILE", "--out", "."]), (translation.main, ["FILE", "--out", "/dev/null/x"]),
    (translation.main, ["FILE", "--out", "OUT", "--to", "en"]), (translation.main, ["FILE", "--out", "OUT", "--to"]),
    (translation.main, ["FILE", "--out", "OUT", "--shard-size", "0"]),
    (translation.main, ["FILE", "--out", "OUT", "--model", ""]),
    (translation.main, ["FILE", "--out", "OUT", "--model", "./no"])])
def test_command_lines(write_lines, tmp_path, capsys, main, arguments):
    file = write_lines("groups.jsonl", [{"id": "1", "query": {"en": "one?"}, "passage": {"en": "One two."}}])
    places_of = {"FILE": str(file), "OUT": str(tmp_path / "out" / "o.jsonl")}
    with pytest.raises(SystemExit) as stopped:
        main([places_of.get(argument, argument) for argument in arguments])
    assert stopped.value.code not in (0, None)
    said = stopped.value.code if isinstance(stopped.value.code, str) else capsys.readouterr().err.splitlines()[-1]
    # Of data the first line counts the problems.
    assert "error: " in said and all(map(str.isprintable, said.splitlines())) and len(said.splitlines()) <= 2
    assert not list(tmp_path.glob("out/[!.]*"))


@pytest.mark.parametrize("count", ["9" * 5000, "1" * 10, "٤", "04", "-1", "1.0", " 4"])
def test_a_number_of_directions_that_is_none(count):
    with pytest.raises(ValueError, match="no remedy 'subspace:.*; there are: centring-training, .*:N") as refused:
        check_remedy(f"subspace:{count}")
    assert len(str(refused.value)) < 250
