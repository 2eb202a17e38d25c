"""What the tables of erasures are made of: fits that never see a query, drawn by seed, and as large as they say."""

import numpy as np
import pandas as pd
import pytest

from hybridlib.data import TestSet
from hybridlib.debiasing import LanguageErasure
from hybridlib.debiasing.dial import numbers
from hybridlib.evaluation import per_query, rank_test_set
from reproduction.commands import erasure
from reproduction.commands.erasure import Pool, fits, measure

COUNTS = {"de": 40, "en": 35, "fr": 31}


@pytest.fixture
def pool(unit_vectors):
    """Random vectors, a query for each of the first ten documents of a language."""
    documents = [(x, n) for x, count in COUNTS.items() for n in range(count)]
    queries = [{"id": f"{x}{n}", "question": str(n), "cluster": str(n % 4), "language": x, "text": f"q {x} {n}"}
               for x, n in documents if n < 10]
    test_set = TestSet.from_records(
        "toy", queries, [{"id": f"{x}{n}", "language": x, "text": f"{x} {n}"} for x, n in documents],
        [(q["id"], f"{x}{q['question']}", 1) for q in queries for x in COUNTS])
    rng = np.random.default_rng(0)
    return Pool(test_set, unit_vectors(rng, len(queries)), unit_vectors(rng, len(documents)))


def test_fits_are_as_large_as_they_say_and_drawn_by_seed(pool):
    found = {(name, draw): (rows, labels) for name, draw, rows, labels in fits(pool, pool.languages)}
    again = {(name, draw): rows for name, draw, rows, _ in fits(pool, pool.languages)}
    assert all(np.array_equal(rows, again[place]) for place, (rows, _) in found.items())
    for draw in range(3):
        for size in (10, 30):
            rows, labels = found[f"{size} documents a language", draw]
            assert dict(zip(*np.unique(labels, return_counts=True), strict=True)) == dict.fromkeys(COUNTS, size)
            assert len(set(rows)) == len(rows)
        counts = pd.Series(found["one language with 90 %", draw][1]).value_counts()
        assert counts.iloc[0] == COUNTS[counts.index[0]] and counts.iloc[1:].tolist() == [10, 10]
        assert len(set(found["a language missing", draw][1])) == 2
    assert ("100 documents a language", 0) not in found, "no language has so many"
    assert not np.array_equal(found["30 documents a language", 0][0], found["30 documents a language", 1][0])


def test_rows_are_what_the_library_gives(pool, monkeypatch):
    monkeypatch.setattr(erasure, "DRAWS", 1)
    rows, against = measure(pool, pool.languages)
    rows = rows.set_index("fit")
    own = LanguageErasure.fit(pool.candidates, pool.languages)
    for name, queries, candidates in (("plain", pool.queries, pool.candidates),
                                      ("strength 1.0", own.transform(pool.queries), own.transform(pool.candidates))):
        expected = numbers(per_query(rank_test_set(pool.test_set, queries, candidates)))
        assert rows.loc[name, list(expected)].to_dict() == pytest.approx(expected)
    # Right labels of an identifier are the labels.
    assert rows.loc["labels of an identifier"].to_dict() == rows.loc["strength 1.0"].to_dict()
    difference = against[(against["fit"] == "centring") & (against["measure"] == "multilingual AP")].iloc[0]
    assert difference["difference"] == pytest.approx(
        rows.loc["centring", "multilingual mAP"] - rows.loc["plain", "multilingual mAP"])
    assert difference["low"] <= difference["difference"] <= difference["high"]
