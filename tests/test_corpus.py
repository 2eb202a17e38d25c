"""Files that cannot be used are refused with file, line and reason; what can be used reads as written."""

import gzip
import json

import numpy as np
import pytest
from conftest import group

from hybridlib import corpus
from hybridlib.corpus import CorpusError, groups_of, read_articles, read_groups

TWO = ("de", "en")


def article(number, languages=TWO):
    return {"id": f"a{number}", "topic": "t", "title": {x: f"title {number} {x}" for x in languages},
            "sentences": {x: [f"sentence {number}.{i} {x}" for i in range(3)] for x in languages},
            "questions": [{"id": f"a{number}-1", "answer": 2,
                           "text": {x: f"question {number} {x}" for x in languages}}]}


def broken(change):
    record = article(2)
    change(record)
    return record


@pytest.mark.parametrize(("line", "reason"), [
    ('{"id": "a2", ', "not JSON"),
    ("[1, 2]", "expected an object"),
    (broken(lambda a: a.pop("questions")), "field 'questions' is missing"),
    (broken(lambda a: a["sentences"].pop("de")), "field 'sentences' lacks language 'de'"),
    (broken(lambda a: a["questions"][0]["text"].pop("en")), "field 'questions[0].text' lacks language 'en'"),
    (broken(lambda a: a["sentences"]["de"].__setitem__(1, "  ")), "field 'sentences[1]', de: the text is empty"),
    (broken(lambda a: a["sentences"]["de"].pop()), "different numbers of sentences: [2, 3]"),
    (broken(lambda a: a["questions"][0].__setitem__("answer", 3)), "answer 3 is out of range"),
    (broken(lambda a: a["questions"][0].__setitem__("answer", True)), "answer True is out of range"),
    (broken(lambda a: a.__setitem__("id", "a1")), "duplicate article id 'a1', also at"),
    (broken(lambda a: a["questions"][0].__setitem__("id", "a1-1")), "duplicate question id 'a1-1'"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, "sentence 1.0 en")), "duplicate en text"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, "cafe\u0301")), "not in NFC"),
])
def test_broken_article_is_refused_by_file_line_and_reason(write_lines, line, reason):
    path = write_lines("articles.jsonl", [article(1), line])
    with pytest.raises(CorpusError) as error:
        read_articles(path, languages=TWO)
    assert any(problem.startswith(f"{path}:2: ") and reason in problem for problem in error.value.problems)


def test_every_problem_is_reported_at_once(write_lines):
    path = write_lines("articles.jsonl", ["{", article(1), "}"])
    with pytest.raises(CorpusError) as error:
        read_articles(path, languages=TWO)
    assert [problem.split(": ")[0] for problem in error.value.problems] == [f"{path}:1", f"{path}:3"]


def test_a_text_in_two_files_is_a_leak(write_lines):
    train, test = article(1), article(2)
    test["questions"][0]["text"]["de"] = train["questions"][0]["text"]["de"]
    paths = write_lines("train.jsonl", [train]), write_lines("test.jsonl", [test])
    assert [len(read_articles(path, languages=TWO)) for path in paths] == [1, 1]
    with pytest.raises(CorpusError, match="duplicate de text 'question 1 de'"):
        read_articles(*paths, languages=TWO)


@pytest.mark.parametrize(("line", "reason"), [
    ({"id": "", "query": {"en": "q"}, "passage": {"en": "p"}}, "field 'id' is missing or not text"),
    ({"id": "g0", "query": {"en": "q"}, "passage": {"en": "p"}}, "duplicate id 'g0', also at line 1"),
    ({"id": "g1", "query": {}, "passage": {"en": "p"}}, "field 'query' must be an object"),
    ({"id": "g1", "query": {"en": "q"}}, "field 'passage' must be an object"),
    ({"id": "g1", "query": {"english": "q"}, "passage": {"en": "p"}}, "'english' is not an ISO 639-1 code"),
    ({"id": "g1", "query": {"en": 7}, "passage": {"en": "p"}}, "field 'query', en: a int, expected text"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": ""}}, "field 'passage', en: the text is empty"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": {"en": []}}, "field 'negatives', en"),
])
def test_broken_group_is_refused_by_file_line_and_reason(write_lines, line, reason):
    path = write_lines("groups.jsonl", [group(0, TWO), line])
    with pytest.raises(CorpusError) as error:
        read_groups(path)
    assert any(problem.startswith(f"{path}:2: ") and reason in problem for problem in error.value.problems)


def test_required_languages(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(1, ("en",))])
    assert len(read_groups(path)) == 2
    with pytest.raises(CorpusError, match=r"groups.jsonl:2: field 'query' lacks language 'de'"):
        read_groups(path, languages=TWO)


def test_ids_can_be_taken_from_lines(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(0, TWO)])
    with pytest.raises(CorpusError, match="duplicate id"):
        read_groups(path)
    assert read_groups(path, ids="lines").ids == ["groups:1", "groups:2"]


def test_empty_truncated_and_wrongly_encoded_files(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no groups"):
        read_groups(tmp_path / "empty.jsonl")
    whole = gzip.compress(json.dumps(group(0, TWO)).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(CorpusError, match=r"cut.jsonl.gz:\d+: the compressed file is broken"):
        read_groups(tmp_path / "cut.jsonl.gz")
    (tmp_path / "latin.jsonl").write_bytes('{"id": "ä"}'.encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin.jsonl:1: not UTF-8"):
        read_groups(tmp_path / "latin.jsonl")


def test_wrong_checksum_names_file_and_both_digests(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"hello\n")
    right = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    corpus.verify_checksum(path, right)
    with pytest.raises(CorpusError, match=f"data.jsonl: sha256 is {right}, expected {'0' * 64}"):
        corpus.verify_checksum(path, "0" * 64)
    with pytest.raises(FileNotFoundError, match="DATA="):
        corpus.verify_checksum(tmp_path / "none.jsonl", right)


def test_groups_of_articles(write_lines):
    groups = groups_of(read_articles(write_lines("a.jsonl", [article(1), article(2)]), languages=TWO), "toy")
    assert groups.ids == ["a1-1", "a2-1"] and groups.languages == TWO
    assert groups.pair(1, "de", "en") == {"query": "question 2 de", "passage": "sentence 2.2 en"}
    assert groups.pair(0, "en", "de", negative=3)["negative"] == "sentence 1.1 de"


def test_partial_languages(make_corpus):
    toy = make_corpus([group(0, TWO), group(1, ("en",), ("en", "fr")), group(2, ("de",), ("en",))])
    assert toy.languages == TWO
    assert toy.has(toy.query, "de").tolist() == [True, False, True]
    assert toy.has(toy.passage, "fr").tolist() == [False, True, False]


def test_passage_key_joins_groups_that_share_a_passage_in_any_language(make_corpus):
    records = [group(i, TWO) for i in range(6)]
    records[3]["passage"]["de"] = records[0]["passage"]["de"]
    records[5]["passage"]["en"] = records[3]["passage"]["en"]
    del records[5]["passage"]["de"]
    # The same string in two languages is not the same passage.
    records[4]["passage"]["en"] = records[1]["passage"]["de"]
    key = make_corpus(records).passage_key
    assert key[0] == key[3] == key[5]
    assert len(set(key[[0, 1, 2, 4]])) == 4


def test_select_keeps_ids_texts_and_keys(complete_corpus):
    part = complete_corpus.select([5, 0, 1])
    assert part.ids == ["g5", "g0", "g1"]
    assert part.pair(0, "ar", "zh") == complete_corpus.pair(5, "ar", "zh")
    assert part.passage_key[1] == part.passage_key[2] != part.passage_key[0]
    assert np.array_equal(part.has(part.query, "ar"), [True] * 3)
