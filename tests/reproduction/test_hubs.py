"""What the table of hubs is made of: the map, one number a document on top of it, and the difference of both."""

import numpy as np
import pandas as pd
import pytest

from hybridlib.data import TestSet
from hybridlib.debiasing import LanguageErasure, NearestNeighborNormalization
from hybridlib.evaluation import macro, per_query, rank_test_set
from reproduction.commands import hubs
from reproduction.run import UNTRAINED

COUNTS = {"de": 14, "en": 13, "fr": 12}


@pytest.fixture
def pool(unit_vectors, monkeypatch):
    """A test set and random vectors, a query for each of the first ten documents of a language."""
    monkeypatch.setattr(hubs, "NEIGHBORS", (3, 8))
    monkeypatch.setattr(hubs, "WEIGHTS", (0.25,))
    documents = [(x, n) for x, count in COUNTS.items() for n in range(count)]
    queries = [{"id": f"{x}{n}", "question": str(n), "cluster": f"a {n % 4}", "language": x, "text": f"q {x} {n}"}
               for x, n in documents if n < 10]
    test_set = TestSet.from_records(
        "xquad-r", queries, [{"id": f"{x}{n}", "language": x, "text": f"{x} {n}"} for x, n in documents],
        [(q["id"], f"{x}{q['question']}", 1) for q in queries for x in COUNTS])
    rng = np.random.default_rng(0)
    return test_set, unit_vectors(rng, len(queries)), unit_vectors(rng, len(documents))


class Kept:
    """A store of one run of the untrained encoder."""

    def __init__(self, pool):
        self.pool = pool

    def test_set(self, name):
        return self.pool[0]

    def embeddings(self, system, seed, name):
        return self.pool[1:]

    def is_trained(self, system, seed):
        return False


def test_variants_are_what_the_library_gives(pool):
    test_set, queries, candidates = pool
    found = {name: vectors for name, *vectors in hubs.variants(*pool)}
    assert list(found) == ["the map", "3 neighbours, weight 0.25", "8 neighbours, weight 0.25"]
    erasure = LanguageErasure.fit(candidates, test_set.candidates["language"].to_numpy())
    np.testing.assert_array_equal(found["the map"][1], erasure.transform(candidates))
    own = NearestNeighborNormalization(erasure.transform(candidates), 8, 0.25)
    np.testing.assert_array_equal(found["8 neighbours, weight 0.25"][0], own.queries(erasure.transform(queries)))
    np.testing.assert_array_equal(found["8 neighbours, weight 0.25"][1], own.documents(erasure.transform(candidates)))


def test_a_row_has_the_mean_and_what_is_added_to_the_map_on_each_half_of_the_articles(pool):
    table = hubs.tables(Kept(pool), [0], ["xquad-r"])
    assert table.groupby("articles", sort=False).size().index.tolist() == ["even", "odd", "all"]
    assert table["system"].unique().tolist() == [str(UNTRAINED)] and (table["seeds"] == 1).all()
    plain, mapped = (per_query(rank_test_set(pool[0], *vectors)).assign(system="", seed=0)
                     for name, *vectors in hubs.variants(*pool) if not name.startswith("3"))
    odd = [results[results["cluster"].isin(["a 1", "a 3"])] for results in (plain, mapped)]
    expected = [macro(results, "multilingual AP").iloc[0] for results in odd]
    row = table.set_index(["articles", "variant", "measure"]).loc["odd", "8 neighbours, weight 0.25", "multilingual AP"]
    assert row["mean"] == pytest.approx(expected[1]) and row["difference"] == pytest.approx(expected[1] - expected[0])
    assert row["low"] <= row["difference"] <= row["high"]
    assert table.loc[table["variant"] == hubs.MAP, "difference"].isna().all()


def test_what_is_shown_is_a_mean_of_the_map_and_differences_of_the_others():
    rows = [("the map", 0.5, None, None, None), ("3 neighbours, weight 0.1", 0.52, 0.02, 0.01, 0.0304)]
    table = pd.DataFrame([{"variant": name, "measure": str(of), "mean": mean, "difference": difference, "low": low,
                           "high": high, "benchmark": "toy", "articles": "all", "system": "untrained"}
                          for name, mean, difference, low, high in rows for of in hubs.MEASURED])
    shown = hubs.shown(table)
    assert shown.columns[:4].tolist() == ["monolingual mAP", "cross-lingual mAP", "multilingual mAP", "rank distance"]
    assert shown["monolingual mAP"].tolist() == ["0.500", "+0.020 [+0.010, +0.030] *"]
