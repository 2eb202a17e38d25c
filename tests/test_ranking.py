"""Ranks against a plain stable sort: in the language, in the pool, with ties, under any chunk size."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridlib import benchmarks
from hybridlib.ranking import grid, rank, rank_benchmark

BLOCKS = [slice(0, 7), slice(7, 12), slice(12, 30)]


def by_sorting(scores, relevant):
    """The plain algorithm: sort all candidates by score, equal ones in their order, and look them up."""
    in_language, in_pool, top = np.zeros_like(relevant), np.zeros_like(relevant), np.zeros_like(relevant)
    for q, row in enumerate(relevant):
        first = np.argsort(-scores[q], kind="stable")[:10]
        top[q] = [sum(block.start <= candidate < block.stop for candidate in first) for block in BLOCKS]
        for column, (candidate, block) in enumerate(zip(row, BLOCKS, strict=True)):
            if candidate < 0:
                continue
            for ranks, start, stop in ((in_language, block.start, block.stop), (in_pool, 0, scores.shape[1])):
                order = start + np.argsort(-scores[q, start:stop], kind="stable")
                ranks[q, column] = order.tolist().index(candidate) + 1
    return in_language, in_pool, top


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), chunk=st.integers(1, 50), duplicates=st.booleans(), absent=st.booleans())
def test_ranks_equal_a_stable_sort(unit_vectors, seed, chunk, duplicates, absent):
    rng = np.random.default_rng(seed)
    queries, candidates = unit_vectors(rng, 20), unit_vectors(rng, 30)
    if duplicates:
        candidates = candidates[rng.integers(30, size=30)]
    relevant = np.stack([rng.integers(b.start, b.stop, size=20) for b in BLOCKS], axis=1)
    if absent:
        relevant[rng.random(relevant.shape) < 0.3] = -1
    steps, _ = grid(len(candidates))
    scores = np.rint(queries * float(steps)) @ np.rint(candidates * float(steps)).T
    for ours, plain in zip(rank(queries, candidates, relevant, BLOCKS, chunk), by_sorting(scores, relevant),
                           strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_ties_are_ranked_in_the_order_of_the_benchmark():
    query, same = np.array([[1.0, 0.0]], np.float32), np.array([[0.6, 0.8]] * 30, np.float32)
    in_language, in_pool, top = rank(query, same, [[3, 7, 29]], BLOCKS)
    assert in_language.tolist() == [[4, 1, 18]]
    assert in_pool.tolist() == [[4, 8, 30]]
    assert top.tolist() == [[7, 3, 0]]


def test_ranks_do_not_depend_on_threads_or_chunks(unit_vectors):
    rng = np.random.default_rng(0)
    queries, candidates = unit_vectors(rng, 300, 384), unit_vectors(rng, 1100, 384)
    blocks = [slice(0, 500), slice(500, 1100)]
    relevant = np.stack([rng.integers(b.start, b.stop, size=300) for b in blocks], axis=1)
    first = rank(queries, candidates, relevant, blocks, chunk=256)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for chunk in (1, 7, 300):
            again = rank(queries, candidates, relevant, blocks, chunk=chunk)
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_scores_on_the_grid_rank_as_in_float64(unit_vectors):
    # Rounding moves a score by about 1e-6 at the most: ranks differ only where two scores are that close.
    rng = np.random.default_rng(1)
    queries, candidates = unit_vectors(rng, 200, 384), unit_vectors(rng, 30, 384)
    relevant = np.stack([rng.integers(b.start, b.stop, size=200) for b in BLOCKS], axis=1)
    exact = by_sorting(queries.astype(float) @ candidates.T.astype(float), relevant)
    ours = rank(queries, candidates, relevant, BLOCKS)
    assert np.mean(ours[1] == exact[1]) > 0.999


@given(st.integers(1, 2**20))
def test_score_and_place_fit_one_exact_integer(candidates):
    steps, positions = grid(candidates)
    assert candidates <= positions and steps**2 * positions + positions < 2**53 and steps >= 2**16


def test_a_pool_too_large_for_exact_keys_is_refused():
    with pytest.raises(ValueError, match="1048577 candidates; at most 1048576"):
        grid(2**20 + 1)


def test_rank_benchmark_puts_ranks_beside_their_questions():
    articles = [{"id": f"a{n}", "sentences": {x: [f"{n}{i}{x}" for i in range(2)] for x in ("de", "en")},
                 "questions": [{"id": f"a{n}-1", "answer": n, "text": {"de": "?", "en": "?"}}]} for n in range(2)]
    benchmark = benchmarks.of_articles(articles, "toy", ("de", "en"))
    assert benchmark.relevant.tolist() == [[0, 4], [3, 7], [0, 4], [3, 7]]
    angles = np.deg2rad([0, 10, 20, 30, 5, 15, 25, 35])
    candidates = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    asked = np.deg2rad([0, 35, 5, 34])
    queries = np.stack([np.cos(asked), np.sin(asked)], 1).astype(np.float32)
    table = rank_benchmark(benchmark, queries, candidates).set_index(["question", "query_language", "language"])
    assert table.loc[("a0-1", "de", "de"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 1]
    assert table.loc[("a0-1", "de", "en"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 2]
    # 35 degrees against 30 (German) and 35 (English)
    assert table.loc[("a1-1", "de", "de"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 2]
    assert table.loc[("a1-1", "en", "en"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 1]
    assert (table["article"] == [q[0][:2] for q in table.index]).all()
