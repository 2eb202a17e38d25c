"""Articles that cannot be used are refused with file, line and reason; others become groups or a test set."""

import json

import pytest

from hybridlib.data import CorpusError
from reproduction.sources import articles
from reproduction.sources.articles import groups_of, read_articles

LANGUAGES = ("de", "en", "es")


def article(number, languages=LANGUAGES):
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
    (broken(lambda a: a.pop("questions")), "article: 'questions' is a required property"),
    (broken(lambda a: a["sentences"].pop("de")), "field 'sentences' lacks language 'de'"),
    (broken(lambda a: a["questions"][0]["text"].pop("en")), "field 'questions[0].text' lacks language 'en'"),
    (broken(lambda a: a["sentences"]["de"].__setitem__(1, "  ")), "'sentences[1]', de: the text is empty"),
    (broken(lambda a: a["title"].__setitem__("de", "")), "article.title.de: '' should be non-empty"),
    (broken(lambda a: a["questions"][0]["text"].__setitem__("de", 7)), "questions[0].text.de: 7 is not of type"),
    (broken(lambda a: a.__setitem__("note", 1)), "article: Additional properties are not allowed ('note' was"),
    (broken(lambda a: a["sentences"]["de"].pop()), "different numbers of sentences: [2, 3]"),
    (broken(lambda a: a["questions"][0].__setitem__("answer", 3)), "answer 3 is out of range"),
    (broken(lambda a: a["questions"][0].__setitem__("answer", True)), "questions[0].answer: True is not of type"),
    (broken(lambda a: a.__setitem__("id", "a1")), "duplicate article id 'a1', also at"),
    (broken(lambda a: a["questions"][0].__setitem__("id", "a1-1")), "duplicate question id 'a1-1'"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, "sentence 1.0 en")), "duplicate en text"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, "cafe\u0301")), "not in NFC"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, " sentence 1.0\u00a0\u00a0en")), "duplicate en text"),
    (broken(lambda a: a["sentences"]["en"].__setitem__(0, "sentence  2.2 en")), "duplicate en text 'sentence 2.2 en'"),
    (broken(lambda a: a["questions"][0]["text"].__setitem__("de", "\u200b\u2060")), "[0].text', de: the text is empty"),
    (broken(lambda a: a["sentences"]["de"].__setitem__(1, "\ud83d")), "'sentences.de[1]' holds a lone surrogate"),
    (broken(lambda a: a["questions"][0].__setitem__("answer", float("nan"))), "not JSON (NaN is no number in JSON)"),
    ('{"id": "a2", "id": "a3"}', "key 'id' stands twice in one object"),
])
def test_broken_article_is_refused_by_file_line_and_reason(write_lines, line, reason):
    path = write_lines("articles.jsonl", [article(1), line])
    with pytest.raises(CorpusError) as error:
        read_articles(path, languages=LANGUAGES)
    assert any(problem.startswith(f"{path}:2: ") and reason in problem for problem in error.value.problems)


def test_what_a_message_quotes_is_cut(write_lines):
    path = write_lines("articles.jsonl", [broken(lambda a: a.__setitem__("title", ["line\n" * 1000]))])
    with pytest.raises(CorpusError) as error:
        read_articles(path, languages=LANGUAGES)
    (problem,) = error.value.problems
    assert problem.startswith(f"{path}:1: article.title: ") and problem.endswith("is not of type 'object'")
    assert len(problem) < 300 + len(str(path)) and "\n" not in problem


def test_a_byte_order_mark_and_blank_lines_say_nothing_and_a_file_without_articles_is_refused(write_lines):
    lines = [json.dumps(article(i)) for i in (1, 2)]
    path = write_lines("a.jsonl", ["\ufeff" + lines[0], "", lines[1], " "])
    assert [found["id"] for found in read_articles(path, languages=LANGUAGES)] == ["a1", "a2"]
    with pytest.raises(CorpusError, match="b.jsonl: the file has no articles"):
        read_articles(write_lines("b.jsonl", ["", ""]), languages=LANGUAGES)


def test_every_problem_is_reported_at_once(write_lines):
    path = write_lines("articles.jsonl", ["{", article(1), "}"])
    with pytest.raises(CorpusError) as error:
        read_articles(path, languages=LANGUAGES)
    assert [problem.split(": ")[0] for problem in error.value.problems] == [f"{path}:1", f"{path}:3"]


def test_a_text_in_two_files_is_a_leak(write_lines):
    train, test = article(1), article(2)
    test["questions"][0]["text"]["de"] = train["questions"][0]["text"]["de"]
    paths = write_lines("train.jsonl", [train]), write_lines("test.jsonl", [test])
    assert [len(read_articles(path, languages=LANGUAGES)) for path in paths] == [1, 1]
    with pytest.raises(CorpusError, match="duplicate de text 'question 1 de'"):
        read_articles(*paths, languages=LANGUAGES)


def test_groups_of_articles(write_lines):
    groups = groups_of(read_articles(write_lines("a.jsonl", [article(1), article(2)]), languages=LANGUAGES), "toy")
    assert groups.ids == ["a1-1", "a2-1"] and groups.languages == LANGUAGES
    assert groups.pair(1, "de", "en") == {"query": "question 2 de", "passage": "sentence 2.2 en"}
    assert groups.pair(0, "en", "de", negative=3)["negative"] == "sentence 1.1 de"


def test_the_test_set_of_articles(write_lines):
    read = read_articles(write_lines("a.jsonl", [article(1), article(2)]), languages=LANGUAGES)
    test = articles.test_set(read, "toy", ("en", "de"))
    assert (test.name, test.languages) == ("toy", ("en", "de"))
    assert test.counts().to_numpy().tolist() == [[2, 6], [2, 6]]
    assert test.queries.to_numpy().tolist() == [
        [f"a{n}-1", f"a{n}", x, f"question {n} {x}"] for x in ("en", "de") for n in (1, 2)]
    assert test.candidates.to_numpy().tolist() == [
        [f"a{n}", x, f"sentence {n}.{i} {x}"] for x in ("en", "de") for n in (1, 2) for i in range(3)]
    assert test.relevant.to_numpy().tolist() == [
        [query, row, 1] for query in range(4) for row in ((2, 8), (5, 11))[query % 2]]
    texts = [test.candidates["text"][row] for row in test.answers(3)]
    assert texts == ["sentence 2.2 en", "sentence 2.2 de"]
