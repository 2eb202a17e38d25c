"""What an encoder that knows nothing would get: by formula, by simulation, and on test sets of any shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridlib.data import TestSet
from hybridlib.evaluation import (
    HEADLINE,
    chance,
    expected_average_precision,
    expected_rank_distance,
    macro,
    measures,
    per_query,
    rank_test_set,
)


@given(st.integers(1, 12), st.integers(12, 20_000))
def test_rank_distance_with_one_in_each_language(languages, candidates):
    """The extremes of R draws without replacement from 1 … N lie (N + 1)(R − 1) / (R + 1) apart."""
    expected = (candidates + 1) * (languages - 1) / (languages + 1)
    assert expected_rank_distance([1] * languages, candidates) == pytest.approx(expected, abs=1e-9)


def simulated_orders(relevant, candidates, count):
    """Ranks of ``relevant`` candidates in random orders of all, shape (count, relevant)."""
    return np.argsort(np.random.default_rng(0).random((count, candidates)), axis=1)[:, :relevant] + 1


@pytest.mark.parametrize("relevant", [[3], [1, 1, 1, 1], [2, 1], [5, 1, 1], [4, 3, 2, 8]])
def test_rank_distance_with_several_in_a_language_is_what_simulation_gives(relevant):
    ranks = simulated_orders(sum(relevant), 30, 100_000)
    best = np.stack([part.min(axis=1) for part in np.split(ranks, np.cumsum(relevant)[:-1], axis=1)], axis=1)
    simulated = best.max(axis=1) - best.min(axis=1)
    # Four standard errors of the mean.
    assert expected_rank_distance(relevant, 30) == pytest.approx(simulated.mean(), abs=4 * simulated.std() / 316 + 1e-9)
    assert expected_rank_distance(relevant[::-1], 30) == pytest.approx(expected_rank_distance(relevant, 30))


def test_rank_distance_by_hand():
    # Of three candidates two are German and one English. English at 1: the best German one at 2; at 2: 1; at 3: 1.
    assert expected_rank_distance([2, 1], 3) == pytest.approx((1 + 1 + 2) / 3)


@pytest.mark.parametrize(("relevant", "candidates"), [(1, 7), (4, 30), (30, 30), (1, 1)])
def test_average_precision_is_what_simulation_gives(relevant, candidates):
    simulated = measures.average_precision(simulated_orders(relevant, candidates, 50_000))
    assert expected_average_precision(relevant, candidates) == pytest.approx(
        simulated.mean(), abs=4 * simulated.std() / 223 + 1e-9)


def uneven(copies):
    """German has many candidates, Zulu none, French no queries; one to five relevant ones, some in one language."""
    candidates = [{"id": f"{x}{n}", "language": x, "text": "."} for x, size in (("de", 15), ("en", 6), ("fr", 9))
                  for n in range(size)]
    answers = {"de": ["de0 de1 en0 fr3", "de2 en1", "de3 de4"], "en": ["en2 de5 de6 fr0 fr1", "fr2"],
               "zul": ["de7 en3", "en4 en5", "fr4"]}
    queries = [(f"{x}-{n}-{copy}", x, found.split(), str(copy)) for copy in range(copies)
               for x, every in answers.items() for n, found in enumerate(every)]
    return TestSet.from_records(
        "uneven", [{"id": q, "language": x, "text": "?", "cluster": copy} for q, x, _, copy in queries], candidates,
        [(q, c) for q, _, found, _ in queries for c in found])


def test_chance_is_what_random_orders_get(unit_vectors):
    # Each candidate has an axis of its own, so a random query ranks them in any order equally often.
    test_set = uneven(copies=400)
    ranks = rank_test_set(test_set, unit_vectors(np.random.default_rng(1), 3200, 30), np.eye(30, dtype=np.float32))
    results = per_query(ranks)
    results = results.assign(system="noise", seed=results["cluster"].astype(int) % 40)
    expected = chance(test_set)
    assert list(expected) == [measure.name for measure in HEADLINE]
    for measure in HEADLINE:
        values = macro(results, measure)
        assert len(values) == 40
        # Four standard errors of the mean.
        assert expected[measure.name] == pytest.approx(values.mean(), abs=4 * values.std() / 40**0.5), measure.name


def test_chance_by_hand():
    """One query in German, relevant: one of two German candidates and the only English one."""
    test_set = TestSet.from_records(
        "toy", [{"id": "q", "language": "de", "text": "?"}],
        [{"id": n, "language": x, "text": n} for n, x in (("a", "de"), ("b", "de"), ("c", "en"))],
        [("q", "a"), ("q", "c")])
    # Of three places two are relevant: at 1 and 2, 1 and 3, or 2 and 3.
    assert chance(test_set) == pytest.approx({
        "monolingual AP": (1 + 1 / 2) / 2, "crosslingual AP": 1.0,
        "multilingual AP": (1 + (1 + 2 / 3) / 2 + (1 / 2 + 2 / 3) / 2) / 3, "rank distance": (1 + 2 + 1) / 3})


def test_where_nothing_is_relevant_in_its_own_language_there_is_no_monolingual_number():
    test_set = TestSet.from_records("across", [{"id": "q", "language": "fon", "text": "?"}],
                                    [{"id": "a", "language": "en", "text": "."}, {"id": "b", "language": "en",
                                                                                  "text": ","}], [("q", "a")])
    assert chance(test_set) == pytest.approx({"monolingual AP": np.nan, "crosslingual AP": 3 / 4,
                                              "multilingual AP": 3 / 4, "rank distance": 0}, nan_ok=True)
