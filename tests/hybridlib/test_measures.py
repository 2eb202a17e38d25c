"""Measures against values worked out by hand and against ir_measures (trec_eval)."""

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, nDCG
from scipy import stats

from hybridlib.data import TestSet
from hybridlib.evaluation import (
    HEADLINE,
    MEASURES,
    NO_SEED,
    RANK_DISTANCE,
    Measure,
    estimates,
    grid,
    language_pairs,
    macro,
    measures,
    per_language,
    per_query,
    rank_test_set,
    report_of,
)
from hybridlib.evaluation.measures import KEY

# Three relevant candidates at ranks 1, 3 and 10: precision at them is 1/1, 2/3 and 3/10.
RANKS = [3, 10, 1]


def test_by_hand():
    assert measures.average_precision(RANKS) == pytest.approx((1 + 2 / 3 + 3 / 10) / 3)
    assert measures.recall(RANKS, 3) == pytest.approx(2 / 3)
    assert measures.precision(RANKS, 5) == pytest.approx(2 / 5)
    assert measures.reciprocal_rank([7, 3]) == pytest.approx(1 / 3)
    # gains 1/log2(2), 1/log2(4), 1/log2(11) over the ideal 1/log2(2) + 1/log2(3) + 1/log2(4)
    assert measures.ndcg(RANKS, 10) == pytest.approx((1 + 0.5 + 0.28906483) / (1 + 0.63092975 + 0.5))
    assert measures.ndcg(RANKS, 2) == pytest.approx(1 / (1 + 0.63092975))
    # Grades 1, 2 and 3 at ranks 3, 10 and 1; ideally 3, 2 and 1 at the first three.
    assert measures.ndcg(RANKS, 10, [1, 2, 3]) == pytest.approx(
        (3 + 0.5 + 2 * 0.28906483) / (3 + 2 * 0.63092975 + 0.5))
    assert measures.rank_distance(RANKS) == 9


def test_absent_candidates_do_not_count():
    assert measures.average_precision([[3, 10, 1, 0, 0]]) == pytest.approx(measures.average_precision([RANKS]))
    assert measures.recall([2, 0], 2) == 1
    assert measures.ndcg([2, 0], 10) == pytest.approx(0.63092975)
    assert measures.ndcg([2, 0], 10, [3, 9]) == pytest.approx(0.63092975)
    assert measures.rank_distance([0, 5, 0]) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(12, 40), st.booleans())
def test_against_ir_measures(seed, relevant, candidates, graded):
    rng = np.random.default_rng(seed)
    ranks = rng.permutation(candidates)[:relevant] + 1
    grades = rng.integers(1, 5, relevant) if graded else np.ones(relevant, int)
    run = pd.DataFrame({"query_id": "q", "doc_id": [f"d{i}" for i in range(1, candidates + 1)],
                        "score": -np.arange(1.0, candidates + 1)})
    qrels = pd.DataFrame({"query_id": "q", "doc_id": [f"d{rank}" for rank in ranks], "relevance": grades})
    theirs = ir_measures.calc_aggregate([AP, R @ 10, P @ 5, RR, nDCG @ 10], qrels, run)
    assert measures.average_precision(ranks) == pytest.approx(theirs[AP])
    assert measures.recall(ranks, 10) == pytest.approx(theirs[R @ 10])
    assert measures.precision(ranks, 5) == pytest.approx(theirs[P @ 5])
    assert measures.reciprocal_rank(ranks) == pytest.approx(theirs[RR])
    assert measures.ndcg(ranks, 10, grades) == pytest.approx(theirs[nDCG @ 10])


# Of which languages queries and candidates are. In the last, no query has anything relevant in its own language.
SHAPES = {"all": ("de en zul", "de en zul"), "zul has no candidates": ("de en zul", "de en"),
          "zul has no queries": ("de en", "de en zul"), "across only": ("fon zul", "en fr")}


def any_test_set(seed, shape, share, own_only=False):
    """Queries and candidates in some languages, each pair relevant with a probability, with a grade of 1 to 3.

    Not parallel; with ``own_only`` relevant candidates are in the query's language.
    """
    rng = np.random.default_rng(seed)
    asked, pool = (languages.split() for languages in SHAPES[shape])
    queries = [{"id": f"q{n}", "language": asked[n % len(asked)], "text": "?"} for n in range(12)]
    candidates = [{"id": f"c{n}", "language": pool[n % len(pool)], "text": "."} for n in range(33)]
    relevant = [(q["id"], c["id"], int(rng.integers(1, 4))) for q in queries for c in candidates
                if rng.random() < share and (not own_only or q["language"] == c["language"])]
    if not relevant:  # a first pair that the rules allow, if there is one
        relevant = [next((q["id"], c["id"], 1) for q in queries for c in candidates
                         if not own_only or q["language"] == c["language"])]
    return TestSet.from_records("any", queries, candidates, relevant)


def ranked(test_set, seed):
    """The ranks table of random vectors, and the scores that they are from."""
    rng = np.random.default_rng(seed)
    queries, candidates = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (
        rng.standard_normal((len(texts), 16)).astype(np.float32) for texts in (test_set.queries, test_set.candidates)))
    steps, positions = grid(len(candidates))
    # The very keys that ranks are made from: no two are equal.
    scores = np.rint(queries * float(steps)) @ np.rint(candidates * float(steps)).T * positions
    return rank_test_set(test_set, queries, candidates), scores - np.arange(len(candidates))


def by_trec_eval(test_set, scores):
    """What ir_measures finds over the candidates of a language, and over the pool.

    A dict of (row of a query, language or "pool") to dict of measure; only where something is relevant.
    """
    runs, qrels = [], []
    for language in (*test_set.languages, "pool"):
        own = test_set.candidates["language"].eq(language).to_numpy() | (language == "pool")
        for query in range(len(test_set.queries)):
            run = {"query_id": f"{query} {language}", "doc_id": np.flatnonzero(own).astype(str)}
            # By place: equal scores are not met, and trec_eval's are in single precision.
            runs.append(pd.DataFrame(run | {"score": -1.0 * np.argsort(np.argsort(-scores[query, own]))}))
            rows = test_set.relevant[test_set.relevant["query"].eq(query)
                                     & own[test_set.relevant["candidate"].to_numpy()]]
            qrels.append(pd.DataFrame({"query_id": f"{query} {language}", "doc_id": rows["candidate"].astype(str),
                                       "relevance": rows["grade"]}))
    theirs = {}
    for found in ir_measures.iter_calc([AP, R @ 1, P @ 1, R @ 10, P @ 10, RR, nDCG @ 10], pd.concat(qrels),
                                       pd.concat(runs)):
        query, language = found.query_id.split()
        theirs.setdefault((int(query), language), {})[str(found.measure)] = found.value
    return theirs


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(list(SHAPES)), share=st.sampled_from([0.02, 0.1, 0.4]),
       own_only=st.booleans())
def test_every_setting_against_trec_eval(seed, shape, share, own_only):
    """Several relevant candidates in a language, in some languages, graded; some queries with none in their own."""
    test_set = any_test_set(seed, shape, share, own_only and shape != "across only")
    ranks, scores = ranked(test_set, seed)
    theirs, compared = by_trec_eval(test_set, scores), 0
    ours = per_query(ranks).set_index(["question", "query_language"])
    assert len(ours) == len(test_set.queries)
    for query, row in test_set.queries.iterrows():
        others = [theirs[query, x] for x in test_set.languages if x != row["language"] and (query, x) in theirs]
        for setting, found in (("monolingual", [theirs[query, row["language"]]] if (query, row["language"]) in theirs
                                else []), ("crosslingual", others), ("multilingual", [theirs[query, "pool"]])):
            for name in ("AP", "R@1", "P@1", "R@10", "P@10", "RR", "nDCG@10"):
                if f"{setting} {name}" in MEASURES:
                    expected = np.mean([values[name] for values in found]) if found else np.nan
                    assert ours.loc[(row["question"], row["language"]), f"{setting} {name}"] == pytest.approx(
                        expected, nan_ok=True), (setting, name)
                    compared += 1
    assert compared == 15 * len(test_set.queries)
    pairs = language_pairs(ranks)
    for language in pairs.index:
        asked = test_set.queries.index[test_set.queries["language"] == language]
        for other in pairs:
            found = [theirs[query, other]["AP"] for query in asked if (query, other) in theirs]
            assert pairs.loc[language, other] == pytest.approx(np.mean(found) if found else np.nan, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(list(SHAPES)), share=st.sampled_from([0.02, 0.1, 0.4]))
def test_rank_distance_by_plain_loops(seed, shape, share):
    """Of each language its best relevant candidate; the worst of these less the best."""
    test_set = any_test_set(seed, shape, share)
    ranks, scores = ranked(test_set, seed)
    ours = per_query(ranks).set_index(["question", "query_language"])["rank distance"]
    for query, row in test_set.queries.iterrows():
        order, best = np.argsort(-scores[query]).tolist(), {}
        for candidate in test_set.answers(query):
            language = test_set.candidates["language"][candidate]
            best[language] = min(best.get(language, np.inf), order.index(candidate) + 1)
        assert ours[(row["question"], row["language"])] == max(best.values()) - min(best.values())


def ranks_table():
    """Two questions in two languages; question 2 has no answer in German."""
    rows = [("1", "a", "de", "de", 1, 1), ("1", "a", "de", "en", 2, 4), ("1", "a", "en", "de", 5, 9),
            ("1", "a", "en", "en", 1, 1), ("2", "b", "de", "en", 4, 6), ("2", "b", "en", "en", 2, 3)]
    return pd.DataFrame(rows, columns=["question", "cluster", "query_language", "language", "rank_in_language",
                                       "rank_in_pool"]).assign(grade=1)


def test_per_query_by_hand():
    table = per_query(ranks_table()).set_index(["question", "query_language"])
    assert table.loc[("1", "de"), "monolingual AP"] == 1
    assert table.loc[("1", "de"), "crosslingual AP"] == 1 / 2
    assert table.loc[("1", "en"), "crosslingual AP"] == 1 / 5
    assert table.loc[("1", "en"), "multilingual AP"] == pytest.approx((1 + 2 / 9) / 2)
    assert table.loc[("1", "en"), "rank distance"] == 8
    assert table.loc[("2", "de"), "crosslingual AP"] == 1 / 4
    assert np.isnan(table.loc[("2", "de"), "monolingual AP"])
    assert np.isnan(table.loc[("2", "en"), "crosslingual AP"])
    assert table.loc[("2", "en"), "multilingual AP"] == pytest.approx(1 / 3)
    assert table.loc[("2", "en"), "multilingual R@10"] == 1
    assert table.loc[("2", "en"), "rank distance"] == 0


def test_several_in_a_language_by_hand():
    """One query in German: German ones at 1 and 3 of their own (1 and 5 of the pool), English ones at 2, 4 (4, 9)."""
    rows = [("de", 1, 1, 1), ("de", 3, 5, 2), ("en", 2, 4, 1), ("en", 4, 9, 3)]
    table = pd.DataFrame(rows, columns=["language", "rank_in_language", "rank_in_pool", "grade"]).assign(
        question="q", cluster="c", query_language="de")
    (row,) = per_query(table).to_dict("records")
    assert row["monolingual AP"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["monolingual R@1"] == 1 / 2 and row["monolingual P@1"] == 1
    # Grades 1 and 2 at ranks 1 and 3; ideally 2 and 1 at ranks 1 and 2.
    assert row["monolingual nDCG@10"] == pytest.approx((1 + 2 / 2) / (2 + 1 / np.log2(3)))
    assert row["crosslingual AP"] == pytest.approx((1 / 2 + 2 / 4) / 2) and row["crosslingual RR"] == 1 / 2
    assert row["multilingual AP"] == pytest.approx((1 + 2 / 4 + 3 / 5 + 4 / 9) / 4)
    assert row["multilingual P@10"] == 4 / 10
    assert row["rank distance"] == 4 - 1, "English at its best, 4, less German at its best, 1"


def of_pool(rows, query_language="de"):
    """The measures of one query, from (language, rank in the pool) of what is relevant to it."""
    table = pd.DataFrame(rows, columns=["language", "rank_in_pool"]).assign(
        question="q", cluster="c", query_language=query_language, rank_in_language=1, grade=1)
    return per_query(table).iloc[0]


def test_the_own_language_by_hand():
    """German at 5 and 9, English at 1, 6 and 30, Polish at 4: of four in other languages two stand above rank 5."""
    rows = [("de", 9), ("de", 5), ("en", 30), ("en", 1), ("en", 6), ("pl", 4)]
    row = of_pool(rows)
    assert row["own-language rank"] == 5 and row["own language first"] == 0 and row["others above own"] == 2 / 4
    assert row["TLR@20"] == 3 / 4, "all but the English one at 30"
    assert row["Max@R"] == 30 and row["Complete@10"] == 0
    row = of_pool(rows, "en")
    assert row["own-language rank"] == 1 and row["own language first"] == 1 and row["others above own"] == 0
    assert row["TLR@20"] == 1 and row["Max@R"] == 30
    assert of_pool([("de", 10), ("en", 2)])["Complete@10"] == 1 and of_pool([("de", 11), ("en", 2)])["Complete@10"] == 0
    assert of_pool([("de", 20), ("en", 20)])["TLR@20"] == 1 and of_pool([("de", 20), ("en", 21)])["TLR@20"] == 0


def test_grades_and_places_in_the_table_change_nothing_of_the_pool_measures():
    rows = [("de", 9), ("de", 5), ("en", 30), ("en", 1), ("en", 6), ("pl", 4)]
    names = list(MEASURES)[-8:]
    assert names[0] == "own-language rank" and names[-1] == "PEER@100"
    expected = of_pool(rows)[names].astype(float)
    pd.testing.assert_series_equal(of_pool(rows[::-1])[names].astype(float), expected)
    # Another query that has fewer languages beside it, a row of zeros for what is not there.
    table = pd.DataFrame(rows, columns=["language", "rank_in_pool"]).assign(question="q", rank_in_language=1, grade=3)
    other = pd.DataFrame({"language": ["pl", "en"], "rank_in_pool": [7, 0], "question": "r", "rank_in_language": [1, 0],
                          "grade": [1, 0]})
    both = per_query(pd.concat([other, table]).assign(cluster="c", query_language="de")).set_index("question")
    pd.testing.assert_series_equal(both.loc["q", names], expected, check_names=False)
    other = both.loc["r", names]
    assert other[["TLR@20", "Max@R", "Complete@10"]].tolist() == [1, 7, 1]
    assert other[["own-language rank", "own language first", "others above own", "PEER@20", "PEER@100"]].isna().all()


def test_what_cannot_be_measured_is_not_a_number():
    only_own = of_pool([("de", 3), ("de", 1)])
    assert only_own[["others above own", "TLR@20", "PEER@20", "PEER@100"]].isna().all()
    assert only_own["own-language rank"] == 1 and only_own["Max@R"] == 3


def test_peer_by_hand():
    """Ranks 1, 2, 4 in German and 3, 30 in English, which take the places 1, 2, 4 and 3, 5 of five.

    H = 12 / 30 · (7² / 3 + 8² / 2) − 18 = 1.3333; exp and erfc of it are the chi-square tails of two and of one degree.
    """
    rows = [("de", 1), ("de", 2), ("de", 4), ("en", 3), ("en", 30)]
    assert of_pool(rows)["PEER@20"] == of_pool(rows)["PEER@100"] == pytest.approx(0.2482131)
    # Beyond 20 all are 21: no language is favoured.
    assert of_pool([("de", 21), ("en", 500)])["PEER@20"] == 1
    assert of_pool([("de", 21), ("en", 500)])["PEER@100"] == pytest.approx(0.3173105)  # H = 1
    # One relevant candidate in each of three languages: always the places 1, 2 and 3, H = 2, exp(−1).
    assert of_pool([("de", 8), ("en", 2), ("pl", 7)])["PEER@20"] == pytest.approx(0.3678794)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), most=st.integers(2, 12), highest=st.sampled_from([3, 30, 300]),
       k=st.sampled_from([2, 20, 100]))
def test_peer_against_scipy(seed, most, highest, k):
    """Any number in any of four languages, with ties beyond k, and before it (which ranks have not)."""
    rng = np.random.default_rng(seed)
    ranks = rng.integers(1, highest + 1, (8, most))
    ranks[np.arange(most) >= rng.integers(1, most + 1, 8)[:, None]] = 0
    languages = rng.integers(0, 4, ranks.shape)
    for found, row, language in zip(measures.peer(ranks, languages, k), ranks, languages, strict=True):
        counted = np.minimum(row, k + 1)
        groups = [counted[(row > 0) & (language == x)] for x in np.unique(language[row > 0])]
        if len(groups) < 2:
            assert np.isnan(found)
        elif len(np.unique(np.concatenate(groups))) == 1:
            assert found == 1
        else:
            assert found == pytest.approx(stats.kruskal(*groups).pvalue)


def test_what_a_query_lacks_does_not_poison_the_means():
    table = per_query(ranks_table()).assign(system="A", seed=NO_SEED)
    # German: question 1 only, at 1. English: 1 and 1/2.
    assert macro(table, "monolingual AP").tolist() == [(1 + 3 / 4) / 2]
    assert per_language(table)["monolingual AP"].to_dict() == {"de": 1, "en": 3 / 4}


def test_macro_is_the_mean_over_languages_of_means_over_queries():
    table = per_query(ranks_table()).assign(system="A", seed=3)
    # German: (1/2 + 1/4) / 2; English: 1/5, its second question has no other language.
    assert macro(table, "crosslingual AP").to_dict() == {("A", 3): pytest.approx((3 / 8 + 1 / 5) / 2)}
    assert macro(table, MEASURES["crosslingual AP"], ["en"]).tolist() == pytest.approx([1 / 5])
    both = pd.concat([table.assign(system="B", seed=0), table])
    assert macro(both, "crosslingual AP").index.tolist() == [("B", 0), ("A", 3)]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from(["all", "zul has no candidates", "zul has no queries"]))
def test_there_is_one_macro_mean(seed, shape):
    """What intervals stand around, what the report says and the last row of its table are the same number."""
    test_set = any_test_set(seed, shape, 0.1)
    ranks, _ = ranked(test_set, seed)
    report = report_of(ranks, test_set, "noise")
    results = pd.concat([per_query(ranks).assign(system="noise", seed=seed) for seed in (0, 1)])
    for measure in HEADLINE:
        value = macro(results, measure).mean()
        assert estimates(results, measure, draws=5).loc["noise", "value"] == pytest.approx(value, nan_ok=True)
        assert report.headline.loc[measure.name, "value"] == pytest.approx(value, nan_ok=True)
        assert report.languages.loc["mean", measure.name] == pytest.approx(value, nan_ok=True)


def test_crosslingual_is_the_mean_over_the_other_languages():
    table = ranks_table()
    third = table[(table["question"] == "1") & (table["language"] == "en")].assign(language="fr",
                                                                                   rank_in_language=10)
    mean = per_query(pd.concat([table, third])).set_index(["question", "query_language"])
    assert mean.loc[("1", "de"), "crosslingual AP"] == pytest.approx((1 / 2 + 1 / 10) / 2)


def test_every_column_is_a_measure_and_every_measure_a_column():
    table = per_query(ranks_table())
    assert set(table) - set(KEY) == set(MEASURES)
    assert all(measure.name == str(measure) == name for name, measure in MEASURES.items())
    assert [measure.name for measure in HEADLINE] == ["monolingual AP", "crosslingual AP", "multilingual AP",
                                                      "rank distance"]
    assert [measure.title for measure in HEADLINE] == ["monolingual mAP", "cross-lingual mAP", "multilingual mAP",
                                                       "rank distance"]


def test_a_measure_says_how_it_is_read():
    precision = MEASURES["multilingual AP"]
    assert precision.text(0.51249) == "0.512" and precision.text(0.5125, signed=True) == "+0.512"
    assert precision.text(-0.0004, signed=True) == "-0.000" and precision.text(float("nan")) == "nan"
    assert RANK_DISTANCE.text(1234.56) == "1234.6" and RANK_DISTANCE.text(-3.21, signed=True) == "-3.2"
    # More precision is better, less rank distance is, and own-language answers that stand higher up.
    assert precision.better(0.1) == 0.1 and RANK_DISTANCE.better(-12.0) == 12.0
    assert [name for name, measure in MEASURES.items() if not measure.higher_is_better] == [
        "rank distance", "own-language rank", "others above own", "Max@R"]
    assert RANK_DISTANCE.better(np.array([1.0, -2.0])).tolist() == [-1, 2]
    assert Measure("a", "b") == Measure("a", "b", 3, True)
