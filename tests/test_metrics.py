"""Measures against values worked out by hand and against ir_measures."""

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, nDCG

from hybridlib import metrics

# Three relevant candidates at ranks 1, 3 and 10: precision at them is 1/1, 2/3 and 3/10.
RANKS = [3, 10, 1]


def test_by_hand():
    assert metrics.average_precision(RANKS) == pytest.approx((1 + 2 / 3 + 3 / 10) / 3)
    assert metrics.recall(RANKS, 3) == pytest.approx(2 / 3)
    assert metrics.precision(RANKS, 5) == pytest.approx(2 / 5)
    assert metrics.reciprocal_rank([7, 3]) == pytest.approx(1 / 3)
    # gains 1/log2(2), 1/log2(4), 1/log2(11) over the ideal 1/log2(2) + 1/log2(3) + 1/log2(4)
    assert metrics.ndcg(RANKS, 10) == pytest.approx((1 + 0.5 + 0.28906483) / (1 + 0.63092975 + 0.5))
    assert metrics.ndcg(RANKS, 2) == pytest.approx(1 / (1 + 0.63092975))
    assert metrics.rank_distance(RANKS) == 9


def test_absent_languages_do_not_count():
    assert metrics.average_precision([[3, 10, 1, 0, 0]]) == pytest.approx(metrics.average_precision([RANKS]))
    assert metrics.recall([2, 0], 2) == 1
    assert metrics.ndcg([2, 0], 10) == pytest.approx(0.63092975)
    assert metrics.rank_distance([0, 5, 0]) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(6, 40))
def test_against_ir_measures(seed, relevant, candidates):
    ranks = np.random.default_rng(seed).permutation(candidates)[:relevant] + 1
    run = pd.DataFrame({"query_id": "q", "doc_id": [f"d{i}" for i in range(1, candidates + 1)],
                        "score": -np.arange(1.0, candidates + 1)})
    qrels = pd.DataFrame({"query_id": "q", "doc_id": [f"d{rank}" for rank in ranks], "relevance": 1})
    theirs = ir_measures.calc_aggregate([AP, R @ 10, P @ 5, RR, nDCG @ 10], qrels, run)
    assert metrics.average_precision(ranks) == pytest.approx(theirs[AP])
    assert metrics.recall(ranks, 10) == pytest.approx(theirs[R @ 10])
    assert metrics.precision(ranks, 5) == pytest.approx(theirs[P @ 5])
    assert metrics.reciprocal_rank(ranks) == pytest.approx(theirs[RR])
    assert metrics.ndcg(ranks, 10) == pytest.approx(theirs[nDCG @ 10])


def ranks_table():
    """Two questions in two languages; question 2 has no answer in German."""
    rows = [("1", "a", "de", "de", 1, 1), ("1", "a", "de", "en", 2, 4), ("1", "a", "en", "de", 5, 9),
            ("1", "a", "en", "en", 1, 1), ("2", "b", "de", "en", 4, 6), ("2", "b", "en", "en", 2, 3)]
    return pd.DataFrame(rows, columns=["question", "article", "query_language", "language", "rank_in_language",
                                       "rank_in_pool"])


def test_per_query_by_hand():
    table = metrics.per_query(ranks_table()).set_index(["question", "query_language"])
    assert table.loc[("1", "de"), "monolingual AP"] == 1
    assert table.loc[("1", "de"), "crosslingual AP"] == 1 / 2
    assert table.loc[("1", "en"), "crosslingual AP"] == 1 / 5
    assert table.loc[("1", "en"), "multilingual AP"] == pytest.approx((1 + 2 / 9) / 2)
    assert table.loc[("1", "en"), "rank distance"] == 8
    assert table.loc[("2", "de"), "crosslingual AP"] == 1 / 4
    assert np.isnan(table.loc[("2", "de"), "monolingual AP"])
    assert table.loc[("2", "en"), "multilingual AP"] == pytest.approx(1 / 3)
    assert table.loc[("2", "en"), "multilingual R@10"] == 1
    assert table.loc[("2", "en"), "rank distance"] == 0


def test_macro_is_the_mean_over_languages_of_means_over_queries():
    table = metrics.per_query(ranks_table())
    # German: (1/2 + 1/4) / 2; English: 1/5, its second question has no other language.
    assert metrics.macro(table)["crosslingual AP"] == pytest.approx((3 / 8 + 1 / 5) / 2)
    assert metrics.macro(table, ["en"])["crosslingual AP"] == pytest.approx(1 / 5)


def test_crosslingual_is_the_mean_over_the_other_languages():
    table = ranks_table()
    third = table[(table["question"] == "1") & (table["language"] == "en")].assign(language="fr",
                                                                                   rank_in_language=10)
    mean = metrics.per_query(pd.concat([table, third])).set_index(["question", "query_language"])
    assert mean.loc[("1", "de"), "crosslingual AP"] == pytest.approx((1 / 2 + 1 / 10) / 2)
