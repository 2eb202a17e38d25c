"""Released formats to queries, candidates and relevance; counts as published where the data is at hand."""

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from hybridlib import benchmarks, metrics, paper
from hybridlib.benchmarks import RELEASED
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
    benchmark = benchmarks.lareqa(folder, "xquad-r", {"de": None, "en": None})
    assert benchmark.candidates["text"].tolist() == ["Eins.", " Zwei. ", " Eins.", "One.", " Two. ", " One."]
    # The answer starts on the first character of the third sentence: a break belongs to what follows it.
    assert benchmark.relevant.tolist() == [[2, 5], [2, 5]]
    assert benchmark.blocks() == {"de": slice(0, 3), "en": slice(3, 6)}


def test_an_answer_outside_every_sentence_is_named(folder):
    (folder / "en.json").write_text(json.dumps(released("en", 15)))
    with pytest.raises(CorpusError, match=r"en.json: question q1: answer_start 15 is in 0 sentences"):
        benchmarks.lareqa(folder, "xquad-r", {"de": None, "en": None})


def test_other_files_than_the_released_ones_are_refused(folder):
    with pytest.raises(CorpusError, match=r"de.json: sha256 is .*, expected 16fb0f4b"):
        benchmarks.lareqa(folder, "xquad-r", {x: RELEASED["xquad-r"][x] for x in ("de", "en")})
    with pytest.raises(FileNotFoundError, match=r"ar.json"):
        benchmarks.lareqa(folder, "xquad-r")


def test_a_question_that_a_language_lacks_has_no_relevant_candidate(folder):
    file = released("en", 10)
    file["data"][0]["paragraphs"][0]["qas"][0]["id"] = "q2"
    (folder / "en.json").write_text(json.dumps(file))
    benchmark = benchmarks.lareqa(folder, "xquad-r", {"de": None, "en": None})
    assert benchmark.queries["question"].tolist() == ["q1", "q2"]
    assert benchmark.relevant.tolist() == [[2, -1], [-1, 5]]


def three_languages(tmp_path):
    """Partial parallelism as in MLQA-R: q1 in de, en and es, q2 in de and en, q3 in en and es; articles apart."""
    def article(language, *numbers):
        paragraphs = [{"context": f"A{n}{language}. B{n}{language}.", "sentence_breaks": [[0, 6], [6, 11]],
                       "qas": [{"id": f"q{n}", "question": f"q{n} {language}?", "answers": [{"answer_start": 6}]}]}
                      for n in numbers]
        return {"title": f"{language} {numbers}", "paragraphs": paragraphs}
    files = {"de": [article("de", 1), article("de", 2)], "en": [article("en", 3), article("en", 1), article("en", 2)],
             "es": [article("es", 1, 3)]}
    for language, articles in files.items():
        (tmp_path / f"{language}.json").write_text(json.dumps({"data": articles}))
    return benchmarks.lareqa(tmp_path, "mlqa-r", dict.fromkeys(files))


def test_partial_parallelism(tmp_path):
    benchmark = three_languages(tmp_path)
    relevant = dict(zip(zip(benchmark.queries["question"], benchmark.queries["language"], strict=True),
                        benchmark.relevant.tolist(), strict=True))
    # de: rows 0 to 3, en: 4 to 9 (q3, q1, q2), es: 10 to 13 (q1, q3); the second sentence of a pair is the answer.
    assert relevant == {("q1", "de"): [1, 7, 11], ("q2", "de"): [3, 9, -1], ("q3", "en"): [-1, 5, 13],
                        ("q1", "en"): [1, 7, 11], ("q2", "en"): [3, 9, -1],
                        ("q1", "es"): [1, 7, 11], ("q3", "es"): [-1, 5, 13]}
    # q1 and q3 share the Spanish article, so their articles are one; q2 has its own.
    clusters = benchmark.queries.groupby("question")["article"].unique().map(list)
    assert clusters["q1"] == clusters["q3"] != clusters["q2"] and clusters.map(len).eq(1).all()


def test_settings_of_a_partially_parallel_benchmark(tmp_path):
    benchmark = three_languages(tmp_path)
    ranks = pd.DataFrame([
        (q, "a", x, y, 0 if row < 0 else 1 + (x != y), 0 if row < 0 else 1 + 2 * (x != y))
        for (q, x), rows in zip(benchmark.queries[["question", "language"]].itertuples(index=False),
                                benchmark.relevant, strict=True)
        for y, row in zip(benchmark.languages, rows, strict=True)],
        columns=["question", "article", "query_language", "language", "rank_in_language", "rank_in_pool"])
    table = metrics.per_query(ranks).set_index(["question", "query_language"])
    assert (table["monolingual AP"] == 1).all() and (table["crosslingual AP"] == 0.5).all()
    # Three relevant at ranks 1, 3, 3 and two at 1, 3: precision is averaged over what there is.
    assert table.loc[("q1", "de"), "multilingual AP"] == pytest.approx((1 + 2 / 3 + 3 / 3) / 3)
    assert table.loc[("q2", "de"), "multilingual AP"] == pytest.approx((1 + 2 / 3) / 2)
    assert table.loc[("q2", "de"), "rank distance"] == 2


def test_another_layout_is_refused_by_the_field_it_lacks(folder):
    (folder / "en.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "x", "qas": []}]}]}))
    with pytest.raises(CorpusError, match=r"en.json: a record has no field 'sentence_breaks'"):
        benchmarks.lareqa(folder, "xquad-r", {"de": None, "en": None})


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """Serve ``tmp_path/site`` on this machine; gives its address and folder."""
    site = tmp_path / "site"
    (site / "toy").mkdir(parents=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", site / "toy"
        httpd.shutdown()


def test_downloads_are_checked_and_kept(server, tmp_path, monkeypatch):
    address, site = server
    (site / "de.json").write_bytes(b"whole file")
    monkeypatch.setitem(benchmarks.RELEASED, "toy", {"de": hashlib.sha256(b"whole file").hexdigest()})
    folder = benchmarks.fetch("toy", tmp_path / "cache", address)
    assert (folder / "de.json").read_bytes() == b"whole file"
    (site / "de.json").unlink()
    assert benchmarks.fetch("toy", tmp_path / "cache", address) == folder, "the second time it is offline"


@pytest.mark.parametrize("came", [b"whole fil", b"other file", None], ids=["truncated", "wrong", "absent"])
def test_what_is_not_the_released_file_leaves_nothing_behind(server, tmp_path, monkeypatch, came):
    address, site = server
    if came is not None:
        (site / "de.json").write_bytes(came)
    monkeypatch.setitem(benchmarks.RELEASED, "toy", {"de": hashlib.sha256(b"whole file").hexdigest()})
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with pytest.raises(ConnectionError, match=r"toy: http://.*/toy/de.json could not be had: .*--data or DATA="):
        benchmarks.fetch("toy", tmp_path / "cache", address)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.skipif(not (SHARED / "mlqa-r").is_dir(), reason="MLQA-R is not at hand (../shared/data)")
def test_mlqa_r_has_the_published_counts():
    benchmark = benchmarks.load("mlqa-r", SHARED / "mlqa-r")
    published = paper.candidate_counts("MLQA-R").loc[list(benchmark.languages)]
    pd.testing.assert_frame_equal(benchmark.counts(), published, check_names=False)
    assert np.bincount((benchmark.relevant >= 0).sum(1)).tolist() == [0, 0, 130, 789, 3280]


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_xquad_r_has_the_published_counts_and_its_answers():
    benchmark = benchmarks.lareqa(SHARED / "xquad-r", "xquad-r")
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
