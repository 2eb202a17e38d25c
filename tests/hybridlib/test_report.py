"""The report of any encoder: what noise looks like, and that the page holds what the numbers say."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from hybridlib.data import TestSet
from hybridlib.evaluation import ABOUT, evaluate, rank_test_set, report_of


def random_test_set(languages, questions, candidates):
    """Questions in all languages, candidates in numbers that differ by language; one of each answers a question."""
    rng = np.random.default_rng(0)
    sizes = {language: candidates + 20 * n for n, language in enumerate(languages)}
    answer = {language: rng.integers(size, size=questions) for language, size in sizes.items()}
    return TestSet.from_parallel(
        "random", languages,
        [(f"q{n}", f"a{n % 10}", x, f"{n} {x}", answer[x][n]) for x in languages for n in range(questions)],
        [("a0", x, str(n)) for x, size in sizes.items() for n in range(size)])


@pytest.fixture(scope="module")
def by_chance():
    """The test set, ranks and report of random embeddings."""
    test_set = random_test_set(("ar", "de", "en", "zh"), 400, 60)
    rng = np.random.default_rng(1)
    ranks = rank_test_set(test_set, *(
        (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        for v in (rng.standard_normal((len(texts), 24)) for texts in (test_set.queries, test_set.candidates))))
    return test_set, ranks, report_of(ranks, test_set, "noise")


def test_random_embeddings_give_the_expected_numbers(by_chance):
    _, _, found = by_chance
    for measure, row in found.headline.iterrows():
        assert row["value"] == pytest.approx(row["chance"], rel=0.06), measure


def test_random_top_10_go_to_languages_as_their_share_of_the_pool(by_chance):
    test_set, _, found = by_chance
    assert found.top10.loc["pool"].tolist() == pytest.approx([60 / 360, 80 / 360, 100 / 360, 120 / 360])
    assert len(test_set.candidates) == 360
    assert np.abs(found.top10.drop(index="pool") - found.top10.loc["pool"]).max(axis=None) < 0.03
    assert found.own_language_factor() == pytest.approx(1, abs=0.1)


def test_an_encoder_that_sorts_by_language_first_shows_it():
    test_set = random_test_set(("de", "en"), 50, 60)
    axis = {"de": 0, "en": 1}
    vectors = [np.eye(2, dtype=np.float32)[texts["language"].map(axis)] for texts in (test_set.queries,
                                                                                        test_set.candidates)]
    found = report_of(rank_test_set(test_set, *vectors), test_set, "by language")
    assert found.top10.loc["de"].tolist() == [1, 0] and found.top10.loc["en"].tolist() == [0, 1]
    assert found.own_language_factor() == pytest.approx((140 / 60 + 140 / 80) / 2)


def test_pairs_and_headline_agree(by_chance):
    _, ranks, found = by_chance
    assert np.diag(found.pairs).mean() == pytest.approx(found.headline.loc["monolingual AP", "value"])
    off = found.pairs.mask(np.eye(4, dtype=bool)).mean(axis=None)
    assert off == pytest.approx(found.headline.loc["crosslingual AP", "value"])
    one = ranks[(ranks["query_language"] == "ar") & (ranks["language"] == "zh")]
    assert found.pairs.loc["ar", "zh"] == pytest.approx((1 / one["rank_in_language"]).mean())


def test_the_page_stands_alone_and_the_files_agree(by_chance, tmp_path):
    _, _, found = by_chance
    page = found.write(tmp_path).read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is loaded from elsewhere"
    saved = json.loads((tmp_path / "report.json").read_text("utf-8"))
    value = found.headline.loc["rank distance", "value"]
    assert saved["headline"]["rank distance"]["value"] == pytest.approx(value)
    assert pd.read_csv(tmp_path / "queries.csv").groupby("query_language")["rank distance"].mean().mean() == (
        pytest.approx(value))
    assert f"{value:.4f}" in page


def test_where_the_own_language_answer_stands_by_hand():
    """Three German queries, of which the last has no German answer, and an English one; angles as scores."""
    def at(*degrees):
        return np.stack([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))], 1).astype(np.float32)

    test_set = TestSet.from_records(
        "toy", [{"id": f"q{n}", "language": "en" if n == 3 else "de", "text": "?"} for n in range(4)],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "de2", "de3", "en1", "en2")],
        [("q0", "de1"), ("q0", "en1"), ("q1", "de3"), ("q1", "en1"), ("q1", "en2"), ("q2", "en1"),
         ("q3", "en2"), ("q3", "de1")])
    # In order: de1, en1, de2, de3, en2.
    found = report_of(rank_test_set(test_set, at(0, 0, 0, 0), at(1, 3, 4, 2, 5)), test_set, "model")
    table = found.own_language()
    assert table.columns.tolist() == ["queries", "median", "mean", "at 1", "others above"]
    assert table.loc["de"].tolist() == [2, 2.5, 2.5, 0.5, 0.25], "ranks 1 and 4; none of one above, one of two"
    assert table.loc["en"].tolist() == [1, 5, 5, 0, 1]
    assert table.loc["mean"].tolist() == [3, 3.75, 3.75, 0.25, 0.625]
    text = found.text()
    assert "median rank 3.8 (mean over query languages), rank 1 for 25% of the queries; 62% of other" in text
    advice = found.what_counts()
    assert len(advice) == 3 and advice.iloc[0]["here"].startswith("monolingual mAP 0.")
    assert advice.iloc[1]["here"].count("mAP") == 1 and "rank distance" in advice.iloc[1]["here"]


def test_the_page_says_how_many_queries_a_measure_is_over(by_chance, tmp_path):
    _, _, found = by_chance
    page = found.write(tmp_path).read_text("utf-8")
    (row,) = re.findall(r"<th>PEER@20</th>(.*?)</tr>", page, re.DOTALL)
    assert re.findall("<td>(.*)</td>", row)[5:] == ["1600"], "behind four languages and their mean"
    saved = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert saved["own_language"]["zh"]["queries"] == 400
    for case in found.what_counts().index:
        assert case in page


def across_only():
    """Queries in two languages that have no candidates, as in AfriQA; two in one language are left out."""
    queries = [{"id": f"{x}{n}", "language": x, "text": f"{n} {x}"} for x in ("fon", "zul") for n in range(8)]
    candidates = [{"id": f"{x}{n}", "language": x, "text": f"{n} {x}"} for x in ("en", "fr") for n in range(20)]
    return TestSet.from_records("across", queries, candidates, [
        (q["id"], f"{'en' if n % 3 else 'fr'}{n % 20}") for n, q in enumerate(queries[:-2])])


def test_a_test_set_without_candidates_in_the_queries_languages_has_a_report(tiny_encoder, tmp_path):
    report = evaluate(str(tiny_encoder), across_only(), precision="fp32")
    assert np.isnan(report.headline.loc["monolingual AP"]).all() and np.isnan(report.own_language_factor())
    assert report.headline.drop(index="monolingual AP").notna().all(axis=None)
    assert report.pairs.index.tolist() == ["fon", "zul"] and report.pairs.columns.tolist() == ["en", "fr"]
    assert report.top10.loc["pool"].tolist() == [0.5, 0.5]
    assert report.about["queries left out, nothing relevant"] == 2
    assert set(report.about) == {*ABOUT, "queries left out, nothing relevant"}
    text = report.text()
    assert re.search(r"monolingual mAP +nan +\[nan, nan\] +nan", text) and "cross-lingual mAP" in text
    assert "Here: no query has an answer in its own language." in text
    page = report.write(tmp_path).read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3


def test_a_report_in_one_language_has_its_pictures(tiny_encoder, tmp_path):
    candidates = [{"id": str(n), "language": "zul", "text": str(n)} for n in range(12)]
    test_set = TestSet.from_records("one", [{"id": "q", "language": "zul", "text": "1"}], candidates, [("q", "3")])
    report = evaluate(str(tiny_encoder), test_set, precision="fp32")
    assert np.isnan(report.headline.loc["crosslingual AP", "value"])
    assert report.headline.loc["multilingual AP", "value"] == report.headline.loc["monolingual AP", "value"]
    assert report.own_language_factor() == 1 and report.write(tmp_path).is_file()
