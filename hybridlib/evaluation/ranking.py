"""Embeddings to ranks: two integers per query and relevant candidate carry the whole evaluation.

The rank among the candidates of its language, and the rank in the pool of all languages; the best rank is 1.

Ties: candidates of equal score are ranked in the order of the test set, as a stable sort would.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from hybridlib import encoding
from hybridlib.data import TestSet
from hybridlib.progress import progress_bar

TOP = 10


def grid(candidates: int) -> tuple[int, int]:
    """Steps per unit that embeddings are rounded to, for a pool of that many candidates: ``(steps, positions)``.

    With rounded embeddings and a step of ``positions`` between scores, score and place in the pool fit one
    integer under 2**53: every sum is exact in float64, whatever the chunk, the threads or the order in which a
    BLAS adds, no two keys of a query are equal, and ties are true ties.

    >>> grid(13014)
    (524288, 16384)
    """
    bits = max(1, (candidates - 1).bit_length())
    if bits > 20:
        raise ValueError(f"{candidates} candidates; at most {2**20} can be ranked in one pool")
    return 2 ** ((52 - bits) // 2), 2**bits


def rank(queries: np.ndarray, candidates: np.ndarray, relevant: np.ndarray, blocks: Sequence[slice],
         chunk: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank every query's relevant candidates, in their language and in the pool.

    Parameters
    ----------
    queries : ndarray of float32, shape (Q, width), of unit length
    candidates : ndarray of float32, shape (C, width), of unit length
    relevant : ndarray of int, shape (n, 2)
        Row of a query and row of a candidate that is relevant to it; sorted.
    blocks : sequence of slice, length L
        Where each language's candidates stand: one after the other.
    chunk : int
        Queries scored at once; the ranks do not depend on it.

    Returns
    -------
    (ndarray of shape (n,), ndarray of shape (n,), ndarray of shape (Q, L)) of int32
        ``rank_in_language`` and ``rank_in_pool`` of each pair; ``top10``, how many of the first ten of the pool are in
        each language.

    Raises
    ------
    ValueError
        If a row is not finite or all zero: it has no rank.
    """
    for side, vectors in (("queries", queries), ("candidates", candidates)):
        if len(wrong := np.flatnonzero(~(np.isfinite(vectors).all(1) & vectors.any(1)))):
            raise ValueError(f"{len(wrong)} of {len(vectors)} {side} are not finite or all zero and cannot be ranked: "
                             f"row {', '.join(map(str, wrong[:10]))}{', …' if len(wrong) > 10 else ''}")
    steps, positions = grid(len(candidates))
    q = torch.from_numpy(np.rint(queries * np.float64(steps)) * positions)
    c = torch.from_numpy(np.rint(candidates * np.float64(steps))).T.contiguous()
    place = -torch.arange(c.shape[1], dtype=torch.float64)
    relevant = np.asarray(relevant, np.int64).reshape(-1, 2)
    stops = torch.tensor([block.stop for block in blocks])
    language = torch.bucketize(torch.from_numpy(relevant[:, 1].copy()), stops, right=True).numpy()
    # All queries that have an n-th relevant candidate in a language are compared together.
    first_there = np.diff(relevant[:, 0], prepend=-1) | np.diff(language, prepend=-1) != 0
    nth = np.arange(len(relevant)) - np.flatnonzero(first_there)[np.cumsum(first_there) - 1]
    column = language * len(relevant) + nth
    in_language, in_pool = np.zeros((2, len(relevant)), np.int32)
    top = torch.zeros((len(q), len(blocks)), dtype=torch.int32)
    for start in progress_bar(range(0, len(q), chunk), desc="ranking", unit="chunk"):
        rows = slice(start, start + chunk)
        keys = torch.addmm(place, q[rows], c)  # (chunk, C)
        first, last = np.searchsorted(relevant[:, 0], [start, start + len(keys)])
        of_chunk = column[first:last]
        for one in np.unique(of_chunk):
            pairs = first + np.flatnonzero(of_chunk == one)
            asked = torch.from_numpy(relevant[pairs, 0] - start)
            scored = keys if len(asked) == len(keys) else keys[asked]
            above = scored > scored.gather(1, torch.from_numpy(relevant[pairs, 1])[:, None])
            in_pool[pairs] = above.sum(1, dtype=torch.int32) + 1
            in_language[pairs] = above[:, blocks[language[pairs[0]]]].sum(1, dtype=torch.int32) + 1
        best = torch.bucketize(keys.topk(min(TOP, keys.shape[1])).indices, stops, right=True)
        top[rows].scatter_add_(1, best, torch.ones_like(best, dtype=torch.int32))
    return in_language, in_pool, top.numpy()


def rank_test_set(test_set: TestSet, query_embeddings: np.ndarray, candidate_embeddings: np.ndarray) -> pd.DataFrame:
    """The ranks of a test set as a table, a row or more per query and language.

    Returns
    -------
    DataFrame
        ``question``, ``cluster``, ``query_language``, ``language``; ``grade``, ``rank_in_language`` and
        ``rank_in_pool``, a row per relevant candidate in that language; one row of zeros where there is none; and
        ``top10``, how many of the first ten of the pool are in that language, in the first row of a query and language.
    """
    blocks = test_set.blocks()
    pairs = test_set.relevant[["query", "candidate"]].to_numpy()
    in_language, in_pool, top = rank(query_embeddings, candidate_embeddings, pairs,
                                     [blocks[language] for language in test_set.languages])
    count = len(test_set.languages)
    code = test_set.candidates["language"].map({x: n for n, x in enumerate(test_set.languages)}).to_numpy()
    cell = pairs[:, 0] * count + code[pairs[:, 1]]  # of a table of queries and languages, as its rows follow
    empty = np.setdiff1d(np.arange(len(test_set.queries) * count), cell)
    zeros = np.zeros(len(empty), np.int32)
    table = pd.DataFrame({
        "cell": np.concatenate([cell, empty]),
        "grade": np.concatenate([test_set.relevant["grade"].to_numpy(np.int32), zeros]),
        "rank_in_language": np.concatenate([in_language, zeros]),
        "rank_in_pool": np.concatenate([in_pool, zeros])}).sort_values("cell", kind="stable", ignore_index=True)
    queries = test_set.queries.loc[table["cell"] // count]
    shares = np.where(table.duplicated("cell"), 0, top.ravel()[table["cell"]])
    return pd.DataFrame({
        "question": queries["question"].to_numpy(), "cluster": queries["cluster"].to_numpy(),
        "query_language": queries["language"].to_numpy(),
        "language": np.array(test_set.languages, object)[table["cell"] % count],
        **{name: table[name] for name in ("grade", "rank_in_language", "rank_in_pool")},
        "top10": shares.astype(np.int32)})


def embed(siblings: encoding.Siblings, test_set: TestSet, prompts: encoding.Prompts = encoding.E5_PROMPTS,
          ) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, dict[str, int]]]:
    """Encode a test set's texts, each once.

    Returns
    -------
    (list of (ndarray, ndarray), dict)
        Per model the embeddings of the queries and of the candidates; the encoder's counts for both.
    """
    queries, query_counts = encoding.encode_all(
        siblings, test_set.queries["text"].tolist(), prompts.query, description="queries", role="query")
    candidates, candidate_counts = encoding.encode_all(
        siblings, test_set.candidates["text"].tolist(), prompts.passage, description="candidates",
        role="document")
    return list(zip(queries, candidates, strict=True)), {"queries": query_counts, "candidates": candidate_counts}
