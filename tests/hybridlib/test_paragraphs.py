"""XQuAD-R's paragraphs as candidates: counts where the data is at hand, and small files in that layout."""

import hashlib
import json

import pytest
from conftest import SHARED

from hybridlib.data import RELEASED, CorpusError
from hybridlib.data.lareqa import read_lareqa_paragraphs

EIGHT = ("ar", "de", "en", "es", "hi", "ru", "vi", "zh")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three languages: an article of two paragraphs, asked about once and twice, and one that nobody asks about."""
    def paragraph(number, language, *starts):
        return {"context": f"{number} {language}.  More. ", "sentence_breaks": [[0, 5], [5, 13]],
                "qas": [{"id": f"q{number}{start}", "question": f"q{number}{start} {language}?",
                         "answers": [{"answer_start": start}]} for start in starts]}
    for language in ("de", "en", "es"):
        (tmp_path / f"{language}.json").write_text(json.dumps({"data": [
            {"title": "a", "paragraphs": [paragraph(1, language, 0), paragraph(2, language, 0, 7)]},
            {"title": "b", "paragraphs": [paragraph(3, language)]}]}))
    monkeypatch.setitem(RELEASED, "xquad-r", {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(tmp_path.iterdir())})
    return tmp_path


def relevant(test_set):
    """Texts of the relevant candidates of each query, by question and language."""
    return {(question, language): test_set.candidates["text"][test_set.answers(row)].tolist()
            for row, (question, language) in test_set.queries[["question", "language"]].T.items()}


def test_a_question_s_paragraph_is_relevant_in_every_language_whichever_sentence_answers(folder):
    test_set = read_lareqa_paragraphs(folder, "mine", ["en", "de"])
    assert test_set.name == "mine" and test_set.languages == ("en", "de")
    assert test_set.candidates["text"].tolist() == [f"{n} {x}.  More. " for x in ("en", "de") for n in (1, 2, 3)]
    expected = {"q10": 1, "q20": 2, "q27": 2}
    assert relevant(test_set) == {(question, x): [f"{n} en.  More. ", f"{n} de.  More. "]
                                  for x in ("en", "de") for question, n in expected.items()}
    assert test_set.queries["cluster"].nunique() == 1 and test_set.candidates["cluster"].nunique() == 3
    assert set(test_set.queries["cluster"]) < set(test_set.candidates["cluster"])


def test_questions_in_some_languages_keep_their_answers_in_all(folder):
    every = relevant(read_lareqa_paragraphs(folder, "mine", ["de", "en", "es"]))
    some = read_lareqa_paragraphs(folder, "mine", ["de", "en", "es"], ["en", "es"])
    assert some.query_languages == ("en", "es") and len(some.queries) == 6 and len(some.candidates) == 9
    assert relevant(some) == {key: found for key, found in every.items() if key[1] != "de"}
    assert some.relevant.groupby("query").size().eq(3).all()


def test_languages_that_are_not_there_are_refused(folder):
    with pytest.raises(ValueError, match="test set 'mine': there is no 'fr', only de, en, es"):
        read_lareqa_paragraphs(folder, "mine", ["de", "fr"])
    with pytest.raises(ValueError, match="test set 'mine': there is no 'en', only de, es"):
        read_lareqa_paragraphs(folder, "mine", ["de", "es"], ["de", "en"])
    (folder / "de.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"de.json: sha256 is .*, expected"):
        read_lareqa_paragraphs(folder, "mine", ["de"])


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
@pytest.mark.parametrize(("asked", "queries"), [(None, 9520), (("en",), 1190)])
def test_xquad_has_240_paragraphs_and_1190_questions_a_language(asked, queries):
    test_set = read_lareqa_paragraphs(SHARED / "xquad-r", "xquad-paragraphs", EIGHT, asked)
    assert (len(test_set.candidates), len(test_set.queries)) == (1920, queries)
    assert test_set.counts()["candidates"].eq(240).all()
    assert test_set.relevant.groupby("query").size().eq(8).all() and test_set.queries["cluster"].nunique() == 48
    # Translations of a paragraph stand in the same place of their languages.
    places = test_set.relevant["candidate"] % 240
    assert places.groupby(test_set.relevant["query"]).nunique().eq(1).all()
