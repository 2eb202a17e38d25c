"""Ranks against a plain stable sort: in the language, in the pool, with ties, under any chunk size."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridlib.data import TestSet
from hybridlib.evaluation import grid, rank, rank_test_set, ranking
from hybridlib.evaluation.ranking import rank_by_quota

BLOCKS = [slice(0, 7), slice(7, 12), slice(12, 30)]


def by_sorting(scores, pairs, blocks=BLOCKS):
    """The plain algorithm: sort all candidates by score, equal ones in their order, and look them up."""
    in_language, in_pool = [], []
    for query, candidate in pairs:
        block = next(block for block in blocks if block.start <= candidate < block.stop)
        for ranks, start, stop in ((in_language, block.start, block.stop), (in_pool, 0, scores.shape[1])):
            order = start + np.argsort(-scores[query, start:stop], kind="stable")
            ranks.append(order.tolist().index(candidate) + 1)
    first = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    top = [[sum(block.start <= candidate < block.stop for candidate in row) for block in blocks] for row in first]
    return np.array(in_language, int), np.array(in_pool, int), np.array(top)


def one_each(rng, queries, blocks=BLOCKS):
    """Pairs of every query and one candidate of every language."""
    return np.array([(q, rng.integers(block.start, block.stop)) for q in range(queries) for block in blocks])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), chunk=st.integers(1, 50), part=st.sampled_from([4, 11, 64]),
       duplicates=st.booleans(), share=st.sampled_from([0.02, 0.1, 0.5]),
       stops=st.sampled_from([(7, 12, 30), (0, 12, 12, 30), (30,)]))
def test_ranks_equal_a_stable_sort(unit_vectors, seed, chunk, part, duplicates, share, stops):
    """Any number of relevant candidates, none for some queries; languages without a candidate."""
    rng = np.random.default_rng(seed)
    blocks = [slice(a, b) for a, b in zip((0, *stops), stops, strict=False)]
    queries, candidates = unit_vectors(rng, 20), unit_vectors(rng, 30)
    if duplicates:
        candidates = candidates[rng.integers(8, size=30)]  # ties in all parts of the pool
    pairs = np.argwhere(rng.random((20, 30)) < share)
    steps, _ = grid(len(candidates))
    scores = np.rint(queries * float(steps)) @ np.rint(candidates * float(steps)).T
    for ours, plain in zip(rank(queries, candidates, pairs, blocks, chunk, part), by_sorting(scores, pairs, blocks),
                           strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_ties_are_ranked_in_the_order_of_the_test_set():
    query, same = np.array([[1.0, 0.0]], np.float32), np.array([[0.6, 0.8]] * 30, np.float32)
    in_language, in_pool, top = rank(query, same, [[0, 3], [0, 5], [0, 7], [0, 29]], BLOCKS)
    assert in_language.tolist() == [4, 6, 1, 18]
    assert in_pool.tolist() == [4, 6, 8, 30]
    assert top.tolist() == [[7, 3, 0]]


def test_as_many_relevant_candidates_as_queries_but_not_one_each(unit_vectors):
    rng = np.random.default_rng(2)
    queries, candidates = unit_vectors(rng, 3), unit_vectors(rng, 30)
    pairs = [(0, 1), (0, 4), (2, 6)]  # all in the first language
    expected = by_sorting(queries.astype(float) @ candidates.T.astype(float), pairs)
    for ours, plain in zip(rank(queries, candidates, pairs, BLOCKS), expected, strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_ranks_do_not_depend_on_threads_or_chunks(unit_vectors):
    rng = np.random.default_rng(0)
    queries, candidates = unit_vectors(rng, 300, 384), unit_vectors(rng, 1100, 384)
    blocks = [slice(0, 500), slice(500, 1100)]
    pairs = one_each(rng, 300, blocks)
    first = rank(queries, candidates, pairs, blocks, chunk=256)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for chunk in (1, 7, 300):
            again = rank(queries, candidates, pairs, blocks, chunk=chunk)
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_scores_on_the_grid_rank_as_in_float64(unit_vectors):
    # Rounding moves a score by about 1e-6 at the most: ranks differ only where two scores are that close.
    rng = np.random.default_rng(1)
    queries, candidates = unit_vectors(rng, 200, 384), unit_vectors(rng, 30, 384)
    pairs = one_each(rng, 200)
    exact = by_sorting(queries.astype(float) @ candidates.T.astype(float), pairs)
    ours = rank(queries, candidates, pairs, BLOCKS)
    assert np.mean(ours[1] == exact[1]) > 0.999


@given(st.integers(1, 2**20))
def test_score_and_place_fit_one_exact_integer(candidates):
    steps, positions = grid(candidates)
    assert candidates <= positions and steps**2 * positions + positions < 2**53 and steps >= 2**16


def test_a_pool_of_more_than_2_20_candidates_is_ranked_exactly(unit_vectors):
    """Its second half repeats the first, so that every candidate ties with one in another part."""
    rng = np.random.default_rng(3)
    half = unit_vectors(rng, 2**19 + 500, 8)
    queries, candidates = unit_vectors(rng, 3, 8), np.concatenate([half, half])
    blocks = [slice(0, 2**19 + 7), slice(2**19 + 7, len(candidates))]
    assert len(candidates) > 2**20 and grid(len(candidates)) == grid(2**20)
    scores = np.rint(queries * 2.0**16) @ np.rint(candidates * 2.0**16).T
    best = np.argsort(-scores, axis=1, kind="stable")
    pairs = sorted({(q, int(c)) for q in range(3) for c in [*best[q, [0, 1, 12]], *rng.integers(len(candidates),
                                                                                                 size=2)]})
    in_language, in_pool, top = rank(queries, candidates, pairs, blocks)
    for (query, candidate), own, pool in zip(pairs, in_language, in_pool, strict=True):
        score, places = scores[query], np.arange(len(candidates))
        above = (score > score[candidate]) | ((score == score[candidate]) & (places < candidate))
        block = next(block for block in blocks if block.start <= candidate < block.stop)
        assert (own, pool) == (above[block].sum() + 1, above.sum() + 1)
    assert top[:, 0].tolist() == (best[:, :10] < blocks[0].stop).sum(1).tolist() and (top.sum(1) == 10).all()


def at(*degrees):
    """Unit vectors at angles in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_rank_test_set_puts_ranks_beside_their_questions():
    """Two articles of two sentences in two languages; the first answers one question, the last the other."""
    test_set = TestSet.from_parallel(
        "toy", ("de", "en"), [(f"q{n}", f"a{n}", x, "?", 3 * n) for x in ("de", "en") for n in range(2)],
        [(f"a{n}", x, f"{n}{i}{x}") for x in ("de", "en") for n in range(2) for i in range(2)])
    assert [test_set.answers(row).tolist() for row in range(4)] == [[0, 4], [3, 7], [0, 4], [3, 7]]
    table = rank_test_set(test_set, at(0, 35, 5, 34), at(0, 10, 20, 30, 5, 15, 25, 35)).set_index(
        ["question", "query_language", "language"])
    assert len(table) == 8 and (table["grade"] == 1).all()
    assert table.loc[("q0", "de", "de"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 1]
    assert table.loc[("q0", "de", "en"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 2]
    # 35 degrees against 30 (German) and 35 (English)
    assert table.loc[("q1", "de", "de"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 2]
    assert table.loc[("q1", "en", "en"), ["rank_in_language", "rank_in_pool"]].tolist() == [1, 1]
    assert (table["cluster"] == [f"a{key[0][1]}" for key in table.index]).all()
    assert table["top10"].tolist() == [4] * 8, "of eight candidates each language has four"


def test_a_row_per_relevant_candidate_and_one_of_zeros_where_there_is_none():
    """de has two relevant candidates, graded; en has candidates but none is relevant; zul has queries only."""
    test_set = TestSet.from_records(
        "toy", [{"id": "q", "language": "zul", "text": "?", "cluster": "c"}],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "de2", "de3", "en1")],
        [("q", "de3", 2), ("q", "de1", 1)])
    # By angle: en1 0, de3 10, de2 20, de1 30.
    table = rank_test_set(test_set, at(0), at(30, 20, 10, 0))
    assert table.drop(columns="top10").values.tolist() == [
        ["q", "c", "zul", "de", 1, 3, 4], ["q", "c", "zul", "de", 2, 1, 2],
        ["q", "c", "zul", "en", 0, 0, 0], ["q", "c", "zul", "zul", 0, 0, 0]]
    assert table["top10"].tolist() == [3, 0, 1, 0], "in the first row of a query and language, so that it counts once"


def by_dealing(scores, pairs, blocks):
    """The plain algorithm: each language's candidates in a pile, best on top; a round takes one from every pile."""
    in_pool, top = [], []
    for query, row in enumerate(scores):
        piles = [[block.start + i for i in np.argsort(-row[block], kind="stable")] for block in blocks]
        order = []
        while any(piles):
            order += sorted([pile.pop(0) for pile in piles if pile], key=lambda candidate: (-row[candidate], candidate))
        in_pool += [order.index(candidate) + 1 for asked, candidate in pairs if asked == query]
        top.append([sum(block.start <= candidate < block.stop for candidate in order[:10]) for block in blocks])
    return np.array(in_pool, int), np.array(top)


@pytest.mark.parametrize("stops", [(7, 12, 30), (0, 12, 12, 30), (30,), (1, 2, 30, 30), tuple(range(2, 31, 2))])
@pytest.mark.parametrize("duplicates", [False, True])
def test_a_quota_deals_out_each_language_s_candidates(unit_vectors, monkeypatch, stops, duplicates):
    monkeypatch.setattr(ranking, "CHUNK", 7)
    rng = np.random.default_rng(len(stops))
    blocks = [slice(a, b) for a, b in zip((0, *stops), stops, strict=False)]
    queries, candidates = unit_vectors(rng, 40, 4), unit_vectors(rng, 30, 4)
    if duplicates:
        candidates = candidates[rng.integers(8, size=30)]  # ties within languages, and between
    pairs = np.argwhere((rng.random((40, 30)) < 0.2) & (np.arange(40) % 9 > 0)[:, None])  # a chunk may begin with none
    steps, _ = grid(30)
    expected = by_dealing(np.rint(queries * float(steps)) @ np.rint(candidates * float(steps)).T, pairs, blocks)
    in_language, *found = rank_by_quota(queries, candidates, pairs, blocks)
    np.testing.assert_array_equal(in_language, rank(queries, candidates, pairs, blocks)[0])
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_quota_by_hand():
    """By angle: de 10, 20, 30, 40; en 12, 50; fr 60. Rounds: de en fr, de en, de, de."""
    test_set = TestSet.from_records(
        "toy", [{"id": "q", "language": "de", "text": "?"}],
        [{"id": x, "language": x[:2], "text": x} for x in ("de1", "de2", "de3", "de4", "en1", "en2", "fr1")],
        [("q", x) for x in ("de2", "de4", "en1", "en2", "fr1")])
    vectors = at(0), at(10, 20, 30, 40, 12, 50, 60)
    table = rank_test_set(test_set, *vectors, quota=True)
    assert table["rank_in_pool"].tolist() == [4, 7, 2, 5, 3] and table["top10"].tolist() == [4, 0, 2, 0, 1]
    plain = rank_test_set(test_set, *vectors)
    assert plain["rank_in_pool"].tolist() == [3, 5, 2, 6, 7]
    assert (table.drop(columns="rank_in_pool") == plain.drop(columns="rank_in_pool")).all(axis=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")
@pytest.mark.parametrize("how", [rank, rank_by_quota])
def test_a_gpu_gives_the_same_ranks(unit_vectors, how):
    rng = np.random.default_rng(4)
    queries, candidates = unit_vectors(rng, 1500, 384), unit_vectors(rng, 3000, 384)
    candidates[1500:2000] = candidates[:500]
    blocks = [slice(0, 900), slice(900, 900), slice(900, 3000)]
    pairs = one_each(rng, 1500, [blocks[0], blocks[2]])
    for ours, theirs in zip(how(queries, candidates, pairs, blocks, device="cuda"),
                            how(queries, candidates, pairs, blocks), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_quota_scores_the_pool_once_and_refuses_what_has_no_rank(unit_vectors, monkeypatch):
    rng = np.random.default_rng(6)
    queries, candidates = unit_vectors(rng, 4, 4), unit_vectors(rng, 12, 4)
    blocks = [slice(0, 5), slice(5, 12)]
    pairs = np.array([[0, 4], [1, 2], [1, 11], [3, 0]])
    expected = rank(queries, candidates, pairs, blocks)[0]
    monkeypatch.setattr(ranking, "rank", lambda *_, **__: pytest.fail("scored twice"))
    np.testing.assert_array_equal(rank_by_quota(queries, candidates, pairs, blocks)[0], expected)
    candidates[7] = 0
    with pytest.raises(ValueError, match="1 of 12 candidates are not finite or all zero and cannot be ranked: row 7"):
        rank_by_quota(queries, candidates, pairs, blocks)
