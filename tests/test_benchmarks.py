"""Released formats to queries, candidates and relevance; counts as published where the data is at hand."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from hybridlib import benchmarks, paper
from hybridlib.corpus import LANGUAGES, CorpusError

CONTEXT = {"de": "Eins. Zwei.  Eins. ", "en": "One. Two.  One. "}


def released(language, start):
    """A file in XQuAD-R's layout with one paragraph of three sentences, two of them the same text."""
    breaks = {"de": [[0, 5], [5, 12], [12, 18]], "en": [[0, 4], [4, 10], [10, 15]]}[language]
    paragraph = {"context": CONTEXT[language], "sentence_breaks": breaks,
                 "sentences": [CONTEXT[language][a:b] for a, b in breaks],
                 "qas": [{"id": "q1", "question": f"? {language}", "answers": [{"answer_start": start, "text": "x"}]}]}
    return {"data": [{"title": "t", "paragraphs": [paragraph]}]}


@pytest.fixture
def folder(tmp_path):
    for language, start in (("de", 12), ("en", 10)):
        (tmp_path / f"{language}.json").write_text(json.dumps(released(language, start)))
    return tmp_path


def test_candidates_are_neither_deduplicated_nor_stripped(folder):
    benchmark = benchmarks.xquad_r(folder, ("de", "en"), checksums=None)
    assert benchmark.candidates["text"].tolist() == ["Eins.", " Zwei. ", " Eins.", "One.", " Two. ", " One."]
    # The answer starts on the first character of the third sentence: a break belongs to what follows it.
    assert benchmark.relevant.tolist() == [[2, 5], [2, 5]]
    assert benchmark.blocks() == {"de": slice(0, 3), "en": slice(3, 6)}


def test_an_answer_outside_every_sentence_is_named(folder):
    (folder / "en.json").write_text(json.dumps(released("en", 15)))
    with pytest.raises(CorpusError, match=r"en.json: question q1: answer_start 15 is in 0 sentences"):
        benchmarks.xquad_r(folder, ("de", "en"), checksums=None)


def test_other_files_than_the_released_ones_are_refused(folder):
    with pytest.raises(CorpusError, match=r"de.json: sha256 is .*, expected 16fb0f4b"):
        benchmarks.xquad_r(folder, ("de", "en"))
    with pytest.raises(FileNotFoundError, match=r"ar.json"):
        benchmarks.xquad_r(folder, ("ar",))


def test_a_question_that_a_language_lacks_has_no_relevant_candidate(folder):
    file = released("en", 10)
    file["data"][0]["paragraphs"][0]["qas"][0]["id"] = "q2"
    (folder / "en.json").write_text(json.dumps(file))
    benchmark = benchmarks.xquad_r(folder, ("de", "en"), checksums=None)
    assert benchmark.queries["question"].tolist() == ["q1", "q2"]
    assert benchmark.relevant.tolist() == [[2, -1], [-1, 5]]


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_xquad_r_has_the_published_counts_and_its_answers():
    benchmark = benchmarks.xquad_r(SHARED / "xquad-r")
    published = paper.candidate_counts("XQuAD-R").loc[list(LANGUAGES)]
    pd.testing.assert_frame_equal(benchmark.counts(), published, check_names=False)
    assert (benchmark.relevant >= 0).all()
    english = (benchmark.queries["language"] == "en").to_numpy()
    answers = {}
    for article in json.loads((SHARED / "xquad-r" / "en.json").read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            answers |= {qa["id"]: qa["answers"][0]["text"] for qa in paragraph["qas"]}
    column = benchmark.languages.index("en")
    sentences = benchmark.candidates["text"].to_numpy()[benchmark.relevant[english, column]]
    holds = [answers[q] in s for q, s in zip(benchmark.queries["question"][english], sentences, strict=True)]
    assert np.mean(holds) > 0.98  # about twenty answers run past the sentence they begin in
