"""Files, records and tasks to queries, candidates and relevance; counts as published where the data is at hand."""

import gzip
import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED

from hybridlib.data import RELEASED, CorpusError, TestSet, fetch_lareqa, load_test_set, read_lareqa
from hybridlib.evaluation import per_query
from reproduction import published

CONTEXT = {"de": "Eins. Zwei.  Eins. ", "en": "One. Two.  One. "}


def answers(test_set):
    """Rows of the relevant candidates of each query, by question and language."""
    return {(question, language): test_set.answers(row).tolist()
            for row, (question, language) in test_set.queries[["question", "language"]].T.items()}


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
    test_set = read_lareqa(folder, "xquad-r", {"de": None, "en": None})
    assert test_set.candidates["text"].tolist() == ["Eins.", " Zwei. ", " Eins.", "One.", " Two. ", " One."]
    # The answer starts on the first character of the third sentence: a break belongs to what follows it.
    assert answers(test_set) == {("q1", "de"): [2, 5], ("q1", "en"): [2, 5]}
    assert test_set.blocks() == {"de": slice(0, 3), "en": slice(3, 6)}
    assert (test_set.relevant["grade"] == 1).all() and test_set.left_out == 0


def test_an_answer_outside_every_sentence_is_named(folder):
    (folder / "en.json").write_text(json.dumps(released("en", 15)))
    with pytest.raises(CorpusError, match=r"en.json: question q1: answer_start 15 is in 0 sentences"):
        read_lareqa(folder, "xquad-r", {"de": None, "en": None})


def test_other_files_than_the_released_ones_are_refused(folder):
    with pytest.raises(CorpusError, match=r"de.json: sha256 is .*, expected 16fb0f4b"):
        read_lareqa(folder, "xquad-r", {x: RELEASED["xquad-r"][x] for x in ("de", "en")})
    with pytest.raises(FileNotFoundError, match=r"ar.json"):
        load_test_set("xquad-r", folder)
    with pytest.raises(ValueError, match="no test set 'squad'; there are: xquad-r, mlqa-r"):
        load_test_set("squad", folder)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda p: p.update(sentence_breaks=[[0, 5], [5, 99]]), "sentence_breaks has \\[5, 99\\], expected"),
    (lambda p: p.update(sentence_breaks=[[0, 5], 7]), "sentence_breaks has 7, expected where a sentence begins"),
    (lambda p: p.update(qas={}), "data\\[0\\].paragraphs\\[0\\]: field 'qas' is an object, expected a list"),
    (lambda p: p.update(qas=[]), "no questions"),
    (lambda p: p["qas"].append(p["qas"][0]), "question 'q1' stands twice"),
    (lambda p: p["qas"][0].update(answers=[]), "question q1 has no answer"),
    (lambda p: p["qas"][0].update(answers=["x"]), "the answer of question q1 is text, expected an object"),
    (lambda p: p["qas"][0].update(question=None), "question q1: field 'question' is null, expected text"),
    (lambda p: p["qas"][0].update(question=" \u200b"), "question q1: the text is empty"),
])
def test_a_file_with_other_values_is_refused_by_name_and_place(folder, change, reason):
    file = released("en", 10)
    change(file["data"][0]["paragraphs"][0])
    (folder / "en.json").write_text(json.dumps(file))
    with pytest.raises(CorpusError, match=f"en.json: .*{reason}|en.json: {reason}"):
        read_lareqa(folder, "xquad-r", {"de": None, "en": None})


def test_a_question_that_a_language_lacks_has_no_relevant_candidate_in_it(folder):
    file = released("en", 10)
    file["data"][0]["paragraphs"][0]["qas"][0]["id"] = "q2"
    (folder / "en.json").write_text(json.dumps(file))
    assert answers(read_lareqa(folder, "xquad-r", {"de": None, "en": None})) == {("q1", "de"): [2], ("q2", "en"): [5]}


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
    return read_lareqa(tmp_path, "mlqa-r", dict.fromkeys(files))


def test_partial_parallelism(tmp_path):
    test_set = three_languages(tmp_path)
    # de: rows 0 to 3, en: 4 to 9 (q3, q1, q2), es: 10 to 13 (q1, q3); the second sentence of a pair is the answer.
    assert answers(test_set) == {
        ("q1", "de"): [1, 7, 11], ("q2", "de"): [3, 9], ("q3", "en"): [5, 13], ("q1", "en"): [1, 7, 11],
        ("q2", "en"): [3, 9], ("q1", "es"): [1, 7, 11], ("q3", "es"): [5, 13]}
    # q1 and q3 share the Spanish article, so their articles are one; q2 has its own.
    clusters = test_set.queries.groupby("question")["cluster"].unique().map(list)
    assert clusters["q1"] == clusters["q3"] != clusters["q2"] and clusters.map(len).eq(1).all()


def test_settings_of_a_partially_parallel_test_set(tmp_path):
    test_set = three_languages(tmp_path)
    ranks = pd.DataFrame([
        (question, "a", x, y, 1, 1 + (x != y), 1 + 2 * (x != y))
        for (question, x), rows in answers(test_set).items() for y in test_set.candidates["language"][rows]],
        columns=["question", "cluster", "query_language", "language", "grade", "rank_in_language", "rank_in_pool"])
    table = per_query(ranks).set_index(["question", "query_language"])
    assert (table["monolingual AP"] == 1).all() and (table["crosslingual AP"] == 0.5).all()
    # Three relevant at ranks 1, 3, 3 and two at 1, 3: precision is averaged over what there is.
    assert table.loc[("q1", "de"), "multilingual AP"] == pytest.approx((1 + 2 / 3 + 3 / 3) / 3)
    assert table.loc[("q2", "de"), "multilingual AP"] == pytest.approx((1 + 2 / 3) / 2)
    assert table.loc[("q2", "de"), "rank distance"] == 2


def test_another_layout_is_refused_by_the_field_it_lacks(folder):
    (folder / "en.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "x", "qas": []}]}]}))
    with pytest.raises(CorpusError, match=r"en.json: a record has no field 'sentence_breaks'"):
        read_lareqa(folder, "xquad-r", {"de": None, "en": None})


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
    monkeypatch.setitem(RELEASED, "toy", {"de": hashlib.sha256(b"whole file").hexdigest()})
    folder = fetch_lareqa("toy", tmp_path / "cache", address)
    assert (folder / "de.json").read_bytes() == b"whole file"
    (site / "de.json").unlink()
    assert fetch_lareqa("toy", tmp_path / "cache", address) == folder, "the second time it is offline"


@pytest.mark.parametrize("came", [b"whole fil", b"other file", None], ids=["truncated", "wrong", "absent"])
def test_what_is_not_the_released_file_leaves_nothing_behind(server, tmp_path, monkeypatch, came):
    address, site = server
    if came is not None:
        (site / "de.json").write_bytes(came)
    monkeypatch.setitem(RELEASED, "toy", {"de": hashlib.sha256(b"whole file").hexdigest()})
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with pytest.raises(ConnectionError, match=r"toy: http://.*/toy/de.json could not be had: .*other means"):
        fetch_lareqa("toy", tmp_path / "cache", address)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


QUERIES = [{"id": "1", "language": "pt_BR", "text": "um?", "question": "q", "cluster": "a"},
           {"id": "2", "language": "zul", "text": "kunye?", "question": "q", "cluster": "a"},
           {"id": "3", "language": "eng_Latn", "text": "three?"}, {"id": "4", "language": "zul", "text": "kune?"}]
CANDIDATES = [{"id": "x", "language": "pt_BR", "text": "x"}, {"id": "y", "language": "eng_Latn", "text": " y "},
              {"id": "z", "language": "pt_BR", "text": "z", "cluster": "a"},
              {"id": "w", "language": "eng_Latn", "text": "w"}]
RELEVANT = [("2", "x"), ("1", "y", 3), ("1", "x", 1), ("3", "w", 2), ("3", "y", 0)]


def by_text(test_set):
    """Which texts are relevant to which, with their grades."""
    return {(test_set.queries["text"][query], test_set.candidates["text"][candidate], grade)
            for query, candidate, grade in test_set.relevant.itertuples(index=False)}


def test_records_in_memory():
    test_set = TestSet.from_records("toy", QUERIES, CANDIDATES, RELEVANT)
    assert test_set.languages == ("eng_Latn", "pt_BR", "zul") and test_set.query_languages == test_set.languages
    assert test_set.candidates["text"].tolist() == [" y ", "w", "x", "z"], "by language, in their order, as they are"
    assert test_set.blocks() == {"eng_Latn": slice(0, 2), "pt_BR": slice(2, 4), "zul": slice(4, 4)}
    assert test_set.counts().to_dict() == {"queries": {"eng_Latn": 1, "pt_BR": 1, "zul": 1},
                                           "candidates": {"eng_Latn": 2, "pt_BR": 2, "zul": 0}}
    assert test_set.queries.values.tolist() == [["q", "a", "pt_BR", "um?"], ["q", "a", "zul", "kunye?"],
                                                ["3", "3", "eng_Latn", "three?"]]
    assert by_text(test_set) == {("um?", "x", 1), ("um?", " y ", 3), ("kunye?", "x", 1), ("three?", "w", 2)}
    assert test_set.left_out == 1, "query 4 has nothing relevant"


def test_some_languages_of_a_test_set_by_hand():
    test_set = TestSet.from_records("toy", QUERIES, CANDIDATES, RELEVANT)
    some = test_set.only(["zul", "pt_BR"])
    assert some.languages == ("pt_BR", "zul") and some.name == "toy"
    assert some.candidates["text"].tolist() == ["x", "z"] and some.queries["text"].tolist() == ["um?", "kunye?"]
    assert by_text(some) == {("um?", "x", 1), ("kunye?", "x", 1)} and some.left_out == 0
    # The English question's answer is English; the others' answers in English go.
    assert by_text(test_set.only(["eng_Latn"])) == {("three?", "w", 2)}
    with pytest.raises(ValueError, match="test set 'toy' has no language 'por', language 'en'$"):
        test_set.only(["zul", "por", "en"])


def test_some_clusters_of_a_test_set_have_the_pairs_that_lie_within_them():
    candidates = [x | {"cluster": x.get("cluster", "b")} for x in CANDIDATES]
    test_set = TestSet.from_records("toy", QUERIES, candidates, [*RELEVANT, ("2", "z")])
    some = test_set.only(test_set.languages, ["a"])
    assert some.candidates["text"].tolist() == ["z"] and some.queries["text"].tolist() == ["kunye?"]
    assert by_text(some) == {("kunye?", "z", 1)} and some.left_out == 1
    with pytest.raises(ValueError, match="test set 'toy': queries has no rows|nothing is relevant"):
        test_set.only(test_set.languages, ["b"])


@pytest.mark.parametrize("seed", range(3))
def test_some_languages_have_the_pairs_that_lie_within_them(seed):
    rng = np.random.default_rng(seed)
    queries, candidates = ([{"id": f"{n}", "language": f"{x}", "text": f"{side}{n}"}
                            for n, x in enumerate(rng.choice(["de", "en", "fr", "sw"], 20))] for side in "qp")
    pairs = {(f"{q}", f"{c}", 1) for q, c in rng.integers(20, size=(60, 2))}
    whole = TestSet.from_records("toy", queries, candidates, sorted(pairs))
    kept = {"de", "fr"}
    expected = {(f"q{q}", f"p{c}", 1) for q, c, _ in pairs
                if queries[int(q)]["language"] in kept and candidates[int(c)]["language"] in kept}
    some = whole.only(sorted(kept))
    assert by_text(some) == expected and set(some.candidates["language"]) == kept
    asked = {f"q{q}" for q, *_ in pairs if queries[int(q)]["language"] in kept}
    assert len(some.queries) + some.left_out == len(asked)


def test_the_fingerprint_is_of_all_that_is_in_a_test_set():
    def of(queries=QUERIES, candidates=CANDIDATES, relevant=RELEVANT):
        return TestSet.from_records("toy", queries, candidates, relevant).fingerprint
    others = {of(), of([QUERIES[0] | {"text": "dois?"}, *QUERIES[1:]]), of(relevant=RELEVANT[1:]),
              of(candidates=[CANDIDATES[0] | {"text": "X"}, *CANDIDATES[1:]])}
    assert of() == of() and len(others) == 4


def test_parallel_questions_have_each_others_answers():
    """q stands in two of three languages, r in one; the second language's candidates begin at row 2."""
    test_set = TestSet.from_parallel(
        "toy", ("zul", "en", "fr"), [("q", "a", "zul", "?", 1), ("q", "a", "en", "?", 0), ("r", "b", "en", "?", 1)],
        [("a", "zul", "0"), ("a", "zul", "1"), ("a", "en", "2"), ("b", "en", "3"), ("b", "fr", "4")])
    assert test_set.languages == ("zul", "en", "fr") and test_set.query_languages == ("zul", "en")
    assert answers(test_set) == {("q", "zul"): [1, 2], ("q", "en"): [1, 2], ("r", "en"): [3]}


@pytest.mark.parametrize(("language", "answer"), [("zul", 2), ("en", 1), ("en", -1), ("fr", 0), ("de", 0)])
def test_an_answer_that_is_not_among_the_candidates_of_its_language_is_refused(language, answer):
    """Zulu has two candidates, English one, French none; German is no language of the test set."""
    with pytest.raises(ValueError, match=f"test set 'toy': question 'q' in {language}: answer {answer}, of"):
        TestSet.from_parallel("toy", ("zul", "en", "fr"), [("q", "a", language, "?", answer)],
                              [("a", "zul", "0"), ("a", "zul", "1"), ("a", "en", "2")])


def changed(records, place, **fields):
    return [record | fields if number == place else record for number, record in enumerate(records)]


@pytest.mark.parametrize(("queries", "candidates", "relevant", "reason"), [
    (changed(QUERIES, 2, id="1"), CANDIDATES, RELEVANT, r"queries\[2\]: duplicate id '1', also at queries\[0\]"),
    (QUERIES, changed(CANDIDATES, 3, id="y"), RELEVANT, r"candidates\[3\]: duplicate id 'y', also at candidates\[1\]"),
    (QUERIES, CANDIDATES, [*RELEVANT, ("5", "x")], r"relevant\[5\]: there is no query '5'"),
    (QUERIES, CANDIDATES, [*RELEVANT, ("5", "v")], r"relevant\[5\]: there is no query '5' and no candidate 'v'"),
    (changed(QUERIES, 1, language="English"), CANDIDATES, RELEVANT, r"queries\[1\]: field 'language' is 'English'"),
    (QUERIES, [{"id": "x", "text": "x"}], RELEVANT, r"candidates\[0\]: field 'language' is None"),
    (changed(QUERIES, 0, text="  "), CANDIDATES, RELEVANT, r"queries\[0\]: field 'text' is missing, empty"),
    (QUERIES, changed(CANDIDATES, 0, text=None), RELEVANT, r"candidates\[0\]: field 'text' is missing, empty or not t"),
    (changed(QUERIES, 3, id=None), CANDIDATES, RELEVANT, r"queries\[3\]: field 'id' is missing"),
    (QUERIES, CANDIDATES, [*RELEVANT, ("2", "x", 2)], r"relevant\[5\]: query '2' and candidate 'x' .*grades 1 and 2"),
    (QUERIES, CANDIDATES, [("2", "x", "1")], r"relevant\[0\]: .*grade.*'1'"),
    (QUERIES, CANDIDATES, [("2", "x", 0.5)], r"relevant\[0\]: .*grade.*0.5"),
    (QUERIES, CANDIDATES, [("2", "x", None)], r"relevant\[0\]: .*grade.*None"),
    (QUERIES, CANDIDATES, [("2", "x", 0)], "toy: nothing is relevant"),
    (QUERIES, CANDIDATES, [], "toy: nothing is relevant"),
])
def test_records_that_cannot_be_used_are_refused_by_place_and_reason(queries, candidates, relevant, reason):
    with pytest.raises(CorpusError, match=reason):
        TestSet.from_records("toy", queries, candidates, relevant)


def test_every_problem_is_named_at_once():
    with pytest.raises(CorpusError) as raised:
        TestSet.from_records("toy", changed(QUERIES, 0, text="", language="?"), changed(CANDIDATES, 0, id="y"),
                             [("9", "y")])
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "queries[0]", "queries[0]", "candidates[1]", "relevant[0]"]


def write(folder, files, compressed=False):
    """Write a folder in BEIR's layout: lists of records as JSON Lines, lists of lists as tabs."""
    for name, rows in files.items():
        lines = "".join(("\t".join(map(str, row)) if name.endswith(".tsv") else
                         row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path = folder / f"{name}.gz" if compressed else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(lines.encode()) if compressed else lines.encode())
    return folder


def beir(**changes):
    """`QUERIES`, `CANDIDATES` and `RELEVANT` in BEIR's layout; y's text is cut in two by a title."""
    queries = [{"_id": q["id"], "language": q["language"], "text": q["text"]} | (
        {"group": q["question"], "cluster": q["cluster"]} if "question" in q else {}) for q in QUERIES]
    corpus = [{"_id": c["id"], "language": c["language"], "text": c["text"]} for c in CANDIDATES]
    qrels = [["query-id", "corpus-id", "score"], *([*row, 1][:3] for row in RELEVANT)]
    return {"queries.jsonl": queries, "corpus.jsonl": corpus, "qrels.tsv": qrels} | changes


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_a_folder_in_beirs_layout_is_the_records_that_it_holds(tmp_path, compressed, qrels):
    files = beir()
    files[qrels] = files.pop("qrels.tsv")
    test_set = TestSet.from_beir(write(tmp_path / "toy", files, compressed))
    expected = TestSet.from_records("toy", QUERIES, [c | {"cluster": ""} for c in CANDIDATES], RELEVANT)
    assert (test_set.name, test_set.languages, test_set.left_out) == ("toy", expected.languages, 1)
    for table in ("queries", "candidates", "relevant"):
        pd.testing.assert_frame_equal(getattr(test_set, table), getattr(expected, table))
    assert TestSet.from_beir(tmp_path / "toy", "other").name == "other"


def test_a_title_stands_before_the_text_and_without_one_the_text_is_as_it_is(tmp_path):
    corpus = [{"_id": "x", "language": "pt_BR", "title": "Um", "text": "dois "},
              {"_id": "y", "language": "pt_BR", "title": "", "text": "três"},
              {"_id": "w", "language": "zul", "text": " w"},
              {"_id": "n", "language": "zul", "title": None, "text": "n"}]
    test_set = TestSet.from_beir(write(tmp_path, beir(**{"corpus.jsonl": corpus, "qrels.tsv": [["2", "x", 1]]})))
    assert test_set.candidates["text"].tolist() == ["Um dois", "três", " w", "n"]
    assert test_set.left_out == 3


def test_another_split_can_be_named_and_one_that_is_not_there_is(tmp_path):
    files = beir()
    files["qrels/dev.tsv"] = files.pop("qrels.tsv")
    write(tmp_path, files)
    assert len(TestSet.from_beir(tmp_path, split="dev").relevant) == 4
    with pytest.raises(FileNotFoundError, match=r"qrels.tsv: no such file \(nor .*qrels/test.tsv.*BEIR's layout"):
        TestSet.from_beir(tmp_path)


LINES = beir()


@pytest.mark.parametrize(("file", "line", "row", "reason"), [
    ("queries.jsonl", 2, '{"_id": ', "not JSON"),
    ("queries.jsonl", 2, "[1]", "a list, expected an object"),
    ("queries.jsonl", 4, LINES["queries.jsonl"][0], "duplicate id '1', also at .*queries.jsonl:1"),
    ("queries.jsonl", 1, {"language": "de", "text": "?"}, "field '_?id' is missing"),
    ("queries.jsonl", 1, {"_id": "1", "text": "?"}, "field 'language' is None, expected a code such as de, pt-BR"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "Zulu", "text": "z"}, "field 'language' is 'Zulu'"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "zul", "text": ""}, "field 'text' is missing, empty"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "zul", "text": "", "title": " "}, "field 'text' is missing, empty"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "zul", "text": "z", "title": 7}, "field 'title' is a number"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "zul", "text": "\u200b\ufeff"}, "field 'text' is missing, empty"),
    ("corpus.jsonl", 3, {"_id": "z", "language": "zul", "text": "z\ud800"}, "field 'text' holds a lone surrogate"),
    ("queries.jsonl", 2, {"_id": 2, "language": "zul", "text": "?"}, "field '_id' is a number, expected text"),
    ("queries.jsonl", 2, {"_id": ["2"], "language": "zul", "text": "?"}, "field '_id' is a list, expected text"),
    ("queries.jsonl", 2, LINES["queries.jsonl"][1] | {"language": "pt_BR"}, "question 'q' is asked twice in pt_BR"),
    ("qrels.tsv", 2, ["5", "x", 1], "there is no query '5'"),
    ("qrels.tsv", 2, ["1", "v", 1], "there is no candidate 'v'"),
    ("qrels.tsv", 2, ["1", "x", "0.5"], "expected query-id, corpus-id and a whole number"),
    ("qrels.tsv", 2, ["1", "x", "--1"], "expected query-id, corpus-id and a whole number"),
    ("qrels.tsv", 2, ["1", "x", "²"], "expected query-id, corpus-id and a whole number"),
    ("qrels.tsv", 3, ["1", "0", "x", "1"], "expected query-id, corpus-id and a whole number"),
    ("qrels.tsv", 3, ["2", "x", 2], "query '2' and candidate 'x' have grades 1 and 2"),
])
def test_a_folder_that_cannot_be_used_is_refused_by_file_line_and_reason(tmp_path, file, line, row, reason):
    rows = list(LINES[file])
    rows[line - 1] = row
    with pytest.raises(CorpusError, match=rf"{file}:{line}: {reason}"):
        TestSet.from_beir(write(tmp_path, LINES | {file: rows}))


def test_a_byte_order_mark_and_blank_lines_say_nothing(tmp_path):
    write(tmp_path, beir())
    expected = TestSet.from_beir(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text("\ufeff" + path.read_text("utf-8").replace("\n", "\n\n", 2) + "\n \n", "utf-8")
    found = TestSet.from_beir(tmp_path)
    for table in ("queries", "candidates", "relevant"):
        pd.testing.assert_frame_equal(getattr(found, table), getattr(expected, table))


def test_judgements_without_one_above_0_name_their_file(tmp_path):
    with pytest.raises(CorpusError, match=r"qrels.tsv: nothing is relevant"):
        TestSet.from_beir(write(tmp_path, beir(**{"qrels.tsv": [["1", "x", 0]]})))


def test_a_broken_file_is_refused_by_name(tmp_path):
    write(tmp_path, beir(), compressed=True)
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(CorpusError, match=r"corpus.jsonl.gz:\d: the compressed file is broken"):
        TestSet.from_beir(tmp_path)


def parts(**changes):
    """What `TestSet` takes: two languages, two queries, three candidates."""
    return {"name": "toy", "languages": ("de", "en"),
            "queries": pd.DataFrame([("q", "a", "de", "?"), ("r", "b", "en", "?")],
                                    columns=["question", "cluster", "language", "text"]),
            "candidates": pd.DataFrame([("a", "de", "0"), ("a", "en", "1"), ("b", "en", "2")],
                                       columns=["cluster", "language", "text"]),
            "relevant": pd.DataFrame([(0, 0, 1), (0, 1, 2), (1, 2, 1)], columns=["query", "candidate", "grade"])
            } | changes


def relevant(*rows):
    return pd.DataFrame(rows, columns=["query", "candidate", "grade"], dtype=int)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"languages": ("en", "de")}, r"candidate 1 \(en\) stands behind one in de: candidates must be sorted by language"),
    ({"languages": ("de",)}, "queries in 'en', which is not among its languages"),
    ({"candidates": parts()["candidates"].iloc[::-1]}, "the index of candidates is not 0 … 2"),
    ({"candidates": parts()["candidates"].drop(columns="text")}, "candidates has no column text"),
    ({"queries": parts()["queries"].iloc[:0]}, "queries has no rows"),
    ({"queries": parts()["queries"].assign(question="q", language="de")}, "question 'q' is asked twice in de"),
    ({"relevant": relevant()}, "nothing is relevant"),
    ({"relevant": relevant((0, 0, 1))}, r"1 queries have nothing relevant \('r'\)"),
    ({"relevant": relevant((0, 0, 1), (1, 3, 1))}, "relevant names rows that are not there"),
    ({"relevant": relevant((-1, 0, 1), (0, 0, 1), (1, 2, 1))}, "relevant names rows that are not there"),
    ({"relevant": relevant((0, 0, 1), (1, 2, 0))}, "a grade is not above 0"),
    ({"relevant": relevant((1, 2, 1), (0, 0, 1))}, "relevant is not sorted by query and candidate"),
    ({"relevant": relevant((0, 0, 1), (0, 0, 1), (1, 2, 1))}, "holds a pair twice"),
    ({"relevant": relevant((0, 0, 1)).rename(columns={"grade": "score"})}, r"has the columns .*'score'"),
])
def test_parts_that_do_not_fit_together_are_refused(changes, reason):
    assert TestSet(**parts()).query_languages == ("de", "en")
    with pytest.raises(ValueError, match=f"test set 'toy': .*{reason}"):
        TestSet(**parts(**changes))


@pytest.mark.skipif(not (SHARED / "mlqa-r").is_dir(), reason="MLQA-R is not at hand (../shared/data)")
def test_mlqa_r_has_the_published_counts():
    test_set = load_test_set("mlqa-r", SHARED / "mlqa-r")
    counts = published.candidate_counts("MLQA-R").loc[list(test_set.languages)]
    pd.testing.assert_frame_equal(test_set.counts(), counts, check_names=False)
    assert np.bincount(test_set.relevant.groupby("query").size()).tolist() == [0, 0, 130, 789, 3280]
    languages = test_set.candidates["language"].to_numpy()[test_set.relevant["candidate"]]
    assert not test_set.relevant.assign(language=languages).duplicated(["query", "language"]).any(), "one in each"


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_xquad_r_has_the_published_counts_and_its_answers():
    test_set = load_test_set("xquad-r", SHARED / "xquad-r")
    counts = published.candidate_counts("XQuAD-R").loc[list(test_set.languages)]
    pd.testing.assert_frame_equal(test_set.counts(), counts, check_names=False)
    assert test_set.relevant.groupby("query").size().eq(11).all()
    texts = {}
    for article in json.loads((SHARED / "xquad-r" / "en.json").read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            texts |= {qa["id"]: qa["answers"][0]["text"] for qa in paragraph["qas"]}
    asked = test_set.queries[test_set.queries["language"] == "en"]
    column = test_set.languages.index("en")
    sentences = [test_set.candidates["text"][test_set.answers(row)[column]] for row in asked.index]
    holds = [texts[question] in sentence for question, sentence in zip(asked["question"], sentences, strict=True)]
    assert np.mean(holds) > 0.98  # about twenty answers run past the sentence they begin in


@pytest.mark.skipif(not (SHARED / "ood").is_dir(), reason="the sets of other domains are not at hand (../shared/data)")
@pytest.mark.parametrize(("name", "queries", "candidates", "languages", "asked", "per_question"), [
    ("tydi-goldp", 5077, 5988, 9, 9, 1), ("afriqa", 3107, 6151, 11, 9, 1), ("python-faq", 1169, 1169, 11, 11, None)])
def test_sets_of_other_domains_are_read_as_they_are(name, queries, candidates, languages, asked, per_question):
    test_set = TestSet.from_beir(SHARED / "ood" / name)
    assert (len(test_set.queries), len(test_set.candidates), test_set.left_out) == (queries, candidates, 0)
    assert (len(test_set.languages), len(test_set.query_languages)) == (languages, asked)
    own = (test_set.queries["language"].to_numpy()[test_set.relevant["query"]]
           == test_set.candidates["language"].to_numpy()[test_set.relevant["candidate"]])
    if name == "python-faq":
        # 79 questions stand in all of these.
        languages = {"en", "es", "fr", "ja", "ko", "pt_BR", "uk", "zh_CN"}
        assert test_set.queries.groupby("question")["language"].agg(languages.issubset).sum() == 79
        assert own.sum() == 1169
    else:
        assert test_set.relevant.groupby("query").size().eq(per_question).all()
        assert own.all() if name == "tydi-goldp" else not own.any()


@pytest.mark.parametrize("grade", [1.0, 1.5, float("nan"), "1", True])
def test_a_grade_that_is_no_whole_number_is_refused(folder, grade):
    whole = read_lareqa(folder, "xquad-r", {"de": None, "en": None})
    with pytest.raises(ValueError, match="column grade of relevant is .*, expected whole numbers"):
        TestSet("x", whole.languages, whole.queries, whole.candidates, whole.relevant.assign(grade=grade))
