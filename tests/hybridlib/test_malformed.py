"""Files damaged in every place: each is refused with its name (and line), or read for a reason that stands here.

Two kinds of damage: a value of another type in each nested field, and a single byte that is another one. A reader may
raise nothing but what its documentation names.
"""

import gzip
import json
import re

import numpy as np
import pytest
from conftest import group
from damaged import changed, places

from hybridlib.data import CorpusError, TestSet, read_groups, read_lareqa
from reproduction.sources.articles import read_articles

TWO = ("de", "en")
OTHERS = (None, True, 7, 1.5, float("nan"), float("inf"), "", "\u200b", "\ud800", [], {}, [7], {"x": 7}, [[]])

GROUP = group(1, TWO) | {"negatives": {"en": ["one", "two"]}}
ARTICLE = {"id": "a", "topic": "t", "title": {x: f"title {x}" for x in TWO},
           "sentences": {x: [f"sentence {i} {x}" for i in range(3)] for x in TWO},
           "questions": [{"id": "a-1", "answer": 2, "text": {x: f"question {x}" for x in TWO}}]}
QUERY = {"_id": "1", "language": "en", "text": "?", "group": "q", "cluster": "a"}
PASSAGE = {"_id": "x", "language": "en", "title": "Title", "text": "text"}
RELEASED = {"data": [{"title": "t", "paragraphs": [{
    "context": "Eins. Zwei.  Eins. ", "sentence_breaks": [[0, 5], [5, 12], [12, 18]],
    "qas": [{"id": "q1", "question": "?", "answers": [{"answer_start": 12, "text": "x"}]}]}]}]}


def cases(value, *unread):
    """(path, other value) for every place, and the whole; ``unread`` are paths that a reader does not look at."""
    return [pytest.param(path, other, id=f"{'.'.join(map(str, path))}={other!r}".encode("ascii", "replace").decode())
            for path in places(value, of_a_list=1) if path not in unread for other in OTHERS]


def outcome(read, names, line=""):
    """None if it was read, else the problem; fails on an exception or a message that a user cannot use."""
    try:
        read()
    except CorpusError as error:
        for problem in error.problems:
            assert any(re.search(f"{re.escape(name)}{line}: ", problem) for name in names), problem
            assert len(problem.splitlines()) == 1 and problem.isprintable(), problem
            assert len(problem) < 600, problem
        return str(error)
    return None


def is_in(other, *values):
    return any(type(other) is type(value) and other == value for value in values)


@pytest.mark.parametrize(("path", "other"), cases(GROUP))
def test_groups(write_lines, path, other):
    file = write_lines("groups.jsonl", [group(0, TWO), changed(GROUP, path, other)])
    problem = outcome(lambda: read_groups(file), ["groups.jsonl"], ":2")
    # A group may have no negatives, however that is written; an id may be any text that is no other's.
    assert (problem is None) == ((path == ("negatives",) and is_in(other, None, {}))
                                 or (path == ("id",) and is_in(other, "\u200b")))


@pytest.mark.parametrize(("path", "other"), cases(ARTICLE))
def test_articles(write_lines, path, other):
    file = write_lines("articles.jsonl", [changed(ARTICLE, path, other)])
    problem = outcome(lambda: read_articles(file, languages=TWO), ["articles.jsonl"], ":1")
    # A topic is shown as it is and read by nobody; a question's id may be any text that is no other's.
    assert (problem is None) == (path in (("topic",), ("questions", 0, "id")) and is_in(other, "\u200b"))


def beir(folder, queries, corpus, qrels="query-id\tcorpus-id\tscore\n1\tx\t1\n"):
    for name, records in (("queries", queries), ("corpus", corpus)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "qrels.tsv").write_text(qrels)
    return folder


NAMES = ["queries.jsonl", "corpus.jsonl", "qrels.tsv"]


@pytest.mark.parametrize(("path", "other"), cases(QUERY))
def test_beir_queries(tmp_path, path, other):
    beir(tmp_path, [changed(QUERY, path, other)], [PASSAGE])
    problem = outcome(lambda: TestSet.from_beir(tmp_path), NAMES, ":[12]")
    # What joins queries is optional, and may be a number or any text.
    assert (problem is None) == (path in (("group",), ("cluster",)) and is_in(other, None, 7, "", "\u200b"))


@pytest.mark.parametrize(("path", "other"), cases(PASSAGE))
def test_beir_passages(tmp_path, path, other):
    beir(tmp_path, [QUERY], [changed(PASSAGE, path, other)])
    problem = outcome(lambda: TestSet.from_beir(tmp_path), NAMES, ":[12]")
    # A title is optional, and the other way round it is a text by itself.
    assert (problem is None) == ((path == ("title",) and is_in(other, None, "", "\u200b"))
                                 or (path == ("text",) and is_in(other, "", "\u200b")))
    # Null is no word of the text.
    if path == ("title",) and is_in(other, None, ""):
        assert TestSet.from_beir(tmp_path).candidates["text"].tolist() == ["text"]


@pytest.mark.parametrize("line", [
    "1\tx", "1 x 1", "1\tx\t1\t1", "1\tx\t1.0", "1\tx\tnan", "1\tx\t", "1\tx\t" + "9" * 5000, "\tx\t1", "1\t\t1",
    "1\tx\t１", "1\tx\t1 1", "{}", "1\tx\t\u200b1", "2\tx\t1", "1\ty\t1", "1\tx\t2"])
def test_beir_judgements(tmp_path, line):
    beir(tmp_path, [QUERY], [PASSAGE], f"query-id\tcorpus-id\tscore\n1\tx\t1\n{line}\n")
    assert outcome(lambda: TestSet.from_beir(tmp_path), ["qrels.tsv"], ":3")


def test_a_question_twice_in_one_language_is_refused_by_line(tmp_path):
    beir(tmp_path, [QUERY, QUERY | {"_id": "2"}], [PASSAGE], "1\tx\t1\n2\tx\t1\n")
    with pytest.raises(CorpusError, match=r"queries.jsonl:2: question 'q' is asked twice in en"):
        TestSet.from_beir(tmp_path)


@pytest.mark.parametrize(("path", "other"), cases(
    RELEASED, ("data", 0, "title"), ("data", 0, "paragraphs", 0, "qas", 0, "answers", 0, "text")))
def test_lareqa(tmp_path, path, other):
    (tmp_path / "de.json").write_text(json.dumps(changed(RELEASED, path, other)))
    problem = outcome(lambda: read_lareqa(tmp_path, "xquad-r", {"de": None}), ["de.json"])
    # The seventh character stands in a sentence, too, and a question's id may be any text that is none of another's.
    assert (problem is None) == ((path[-1] == "answer_start" and is_in(other, 7))
                                 or (path[-2:] == (0, "id") and is_in(other, "", "\u200b")))


@pytest.mark.parametrize("content", [
    "", " ", "[", "null", "[]", "7", "\ufeff", '{"data": NaN}', '{"data": [], "data": []}', "[" * 10_000,
    '{"data": ' + "9" * 5000 + "}"])
def test_whole_files_of_lareqa(tmp_path, content):
    (tmp_path / "de.json").write_text(content)
    assert outcome(lambda: read_lareqa(tmp_path, "xquad-r", {"de": None}), ["de.json"])


@pytest.mark.parametrize("line", [
    "[", "null", "[]", "7", '""', "{}", "{]", "[" * 10_000, '{"a":' * 10_000, "9" * 5000, "NaN", "\x00", "{}{}",
    '{"id": "\t"}', "\u2028", "\ufeff{}"])
@pytest.mark.parametrize(("read", "good"), [
    (read_groups, GROUP), (lambda path: read_articles(path, languages=TWO), ARTICLE)], ids=["groups", "articles"])
def test_whole_lines(write_lines, read, good, line):
    file = write_lines("lines.jsonl", [good, line])
    problem = outcome(lambda: read(file), ["lines.jsonl"], ":2")
    # A line separator is white space, and a line of that is passed over.
    assert (problem is None) == (line == "\u2028")


def write_groups(folder):
    (folder / "groups.jsonl").write_text(json.dumps(group(0, TWO)) + "\n" + json.dumps(GROUP) + "\n")
    return folder / "groups.jsonl"


def write_packed(folder):
    (folder / "groups.jsonl.gz").write_bytes(gzip.compress(json.dumps(GROUP).encode(), mtime=0))
    return folder / "groups.jsonl.gz"


def write_articles(folder):
    (folder / "articles.jsonl").write_text(json.dumps(ARTICLE) + "\n")
    return folder / "articles.jsonl"


def write_lareqa(folder):
    (folder / "de.json").write_text(json.dumps(RELEASED))
    return folder / "de.json"


FLIPS = {
    "groups": (write_groups, read_groups), "packed groups": (write_packed, read_groups),
    "articles": (write_articles, lambda path: read_articles(path, languages=TWO)),
    "queries": (lambda folder: beir(folder, [QUERY], [PASSAGE]) / "queries.jsonl",
                lambda path: TestSet.from_beir(path.parent)),
    "corpus": (lambda folder: beir(folder, [QUERY], [PASSAGE]) / "corpus.jsonl",
               lambda path: TestSet.from_beir(path.parent)),
    "qrels": (lambda folder: beir(folder, [QUERY], [PASSAGE]) / "qrels.tsv",
              lambda path: TestSet.from_beir(path.parent)),
    "lareqa": (write_lareqa, lambda path: read_lareqa(path.parent, "xquad-r", {"de": None}))}


@pytest.mark.parametrize("kind", FLIPS)
def test_one_byte_that_is_another(tmp_path, kind):
    """Read is what changed a letter of a text, an id or an unread field, or a byte of a gzip head that means little."""
    write, read = FLIPS[kind]
    path = write(tmp_path)
    whole, rng = path.read_bytes(), np.random.default_rng(13)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        refused += outcome(lambda: read(path), [path.name, *NAMES], "(:[12])?") is not None
    assert 50 < refused < 150


@pytest.mark.parametrize("kind", FLIPS)
def test_a_file_cut_anywhere(tmp_path, kind):
    """Read is what was cut after a whole record, or in the last digits of a judgement."""
    write, read = FLIPS[kind]
    path = write(tmp_path)
    whole = path.read_bytes()
    problems = {}
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        problems[length] = outcome(lambda: read(path), [path.name, *NAMES], "(:[12])?")
    assert problems[0] and sum(map(bool, problems.values())) >= len(problems) - 4
