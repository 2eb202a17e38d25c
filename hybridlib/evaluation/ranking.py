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
PART = 2**16  # candidates scored at once: for a chunk of 64 queries 33 MB of scores
CHUNK, GPU_CHUNK = 64, 1024  # queries scored at once
MOST_PLACES = 2**20  # that share an integer with a score; with more, embeddings would be rounded too coarsely


def grid(candidates: int) -> tuple[int, int]:
    """Steps per unit that embeddings are rounded to, for a pool of that many candidates: ``(steps, positions)``.

    With rounded embeddings and a step of ``positions`` between scores, score and place in the pool fit one
    integer under 2**53: every sum is exact in float64, whatever the chunk, the threads or the order in which a
    BLAS adds, no two keys of a query are equal, and ties are true ties. More than 2**20 candidates are rounded as
    2**20 are; `rank` never has so many in one part.

    >>> grid(13014), grid(10**7)
    ((524288, 16384), (65536, 1048576))
    """
    bits = max(1, (min(candidates, MOST_PLACES) - 1).bit_length())
    return 2 ** ((52 - bits) // 2), 2**bits


def _chunk(device: str) -> int:
    return CHUNK if torch.device(device).type == "cpu" else GPU_CHUNK


def _check_vectors(queries: np.ndarray, candidates: np.ndarray) -> None:
    for side, vectors in (("queries", queries), ("candidates", candidates)):
        if len(wrong := np.flatnonzero(~(np.isfinite(vectors).all(1) & vectors.any(1)))):
            raise ValueError(f"{len(wrong)} of {len(vectors)} {side} are not finite or all zero and cannot be ranked: "
                             f"row {', '.join(map(str, wrong[:10]))}{', …' if len(wrong) > 10 else ''}")


def rank(queries: np.ndarray, candidates: np.ndarray, relevant: np.ndarray, blocks: Sequence[slice],
         chunk: int | None = None, part: int = PART, device: str = "cpu",
         ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank every query's relevant candidates, in their language and in the pool.

    Parameters
    ----------
    queries : ndarray of float32, shape (Q, width), of unit length
    candidates : ndarray of float32, shape (C, width), of unit length
    relevant : ndarray of int, shape (n, 2)
        Row of a query and row of a candidate that is relevant to it; sorted.
    blocks : sequence of slice, length L
        Where each language's candidates stand: one after the other.
    chunk, part : int
        Queries (by default 64, and 1,024 on a GPU) and candidates scored at once, the latter at most 2**20; the ranks
        do not depend on them.
    device : str
        Where scores are computed; the ranks do not depend on it either, since float64 is exact there, too.

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
    _check_vectors(queries, candidates)
    steps, positions = grid(len(candidates))
    q = torch.from_numpy(np.rint(queries * np.float64(steps)) * positions)
    relevant = np.asarray(relevant, np.int64).reshape(-1, 2)
    stops = torch.tensor([block.stop for block in blocks])
    language = torch.bucketize(torch.from_numpy(relevant[:, 1].copy()), stops, right=True).numpy()
    # All queries that have an n-th relevant candidate in a language are compared together.
    first_there = np.diff(relevant[:, 0], prepend=-1) | np.diff(language, prepend=-1) != 0
    nth = np.arange(len(relevant)) - np.flatnonzero(first_there)[np.cumsum(first_there) - 1]
    column = language * len(relevant) + nth
    scores = np.concatenate([np.einsum("ij,ij->i", q.numpy()[pairs[:, 0]],
                                       np.rint(candidates[pairs[:, 1]] * np.float64(steps)))
                             for pairs in np.array_split(relevant, len(relevant) // 4096 + 1)])
    in_language, in_pool = np.ones((2, len(relevant)), np.int32)
    width, chunk = min(TOP, len(candidates)), chunk or _chunk(device)
    q = q.to(device)
    best = torch.full((len(q), width), -torch.inf, dtype=torch.float64, device=device)
    best_at = torch.zeros((len(q), width), dtype=torch.int64, device=device)
    work = [(begin, start) for begin in range(0, len(candidates), part) for start in range(0, len(q), chunk)]
    for begin, start in progress_bar(work, desc="ranking", unit="chunk"):
        if start == 0:
            c = torch.from_numpy(np.rint(candidates[begin:begin + part] * np.float64(steps))).T.contiguous().to(device)
            place = torch.arange(c.shape[1], dtype=torch.float64, device=device)
            here = [slice(max(block.start - begin, 0), max(block.stop - begin, 0)) for block in blocks]
            # Equal scores count as above in earlier parts (every place is less than the candidate's) and not in later.
            keys_of_relevant = torch.from_numpy(scores - np.clip(relevant[:, 1] - begin, 0, positions)).to(device)
        rows = slice(start, start + chunk)
        keys = torch.addmm(-place, q[rows], c)  # (chunk, part)
        first, last = np.searchsorted(relevant[:, 0], [start, start + len(keys)])
        of_chunk = column[first:last]
        for one in np.unique(of_chunk):
            pairs = first + np.flatnonzero(of_chunk == one)
            asked = torch.from_numpy(relevant[pairs, 0] - start).to(device)
            scored = keys if len(asked) == len(keys) else keys[asked]
            above = scored > keys_of_relevant[pairs][:, None]
            in_pool[pairs] += above.sum(1, dtype=torch.int32).cpu().numpy()
            in_language[pairs] += above[:, here[language[pairs[0]]]].sum(1, dtype=torch.int32).cpu().numpy()
        found = keys.topk(min(width, keys.shape[1]))
        # Scores without the place: a stable sort leaves equal ones in the order of their parts.
        both = torch.cat([best[rows], found.values + place[found.indices]], 1).sort(stable=True, dim=1, descending=True)
        best[rows] = both.values[:, :width]
        best_at[rows] = torch.cat([best_at[rows], found.indices + begin], 1).gather(1, both.indices[:, :width])
    language_at = torch.bucketize(best_at.cpu(), stops, right=True)
    top = torch.zeros((len(q), len(blocks)), dtype=torch.int32)
    top.scatter_add_(1, language_at, torch.ones_like(language_at, dtype=torch.int32))
    return in_language, in_pool, top.numpy()


def _dealt(ordered: torch.Tensor, blocks: Sequence[slice], rows: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Scores of the candidates of each row's round, a column per language; −inf where a language has no more."""
    starts, sizes = (torch.tensor(x, device=turns.device) for x in ([b.start for b in blocks],
                                                                    [b.stop - b.start for b in blocks]))
    places = (starts + turns[:, None] - 1).clamp(max=ordered.shape[1] - 1)
    return ordered[rows[:, None], places].where(turns[:, None] <= sizes, -torch.inf)


def rank_by_quota(queries: np.ndarray, candidates: np.ndarray, relevant: np.ndarray, blocks: Sequence[slice],
                  device: str = "cpu") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `rank`, in a pool where each language has its share: its candidates are dealt out in rounds.

    The n-th round holds the n-th best candidate of each language, the best of them first; a language that has no more
    drops out. ``rank_in_language`` is that of `rank`, and so are ties: in a round, the earlier language is first.

    Parameters and what is returned: see `rank`.
    """
    _check_vectors(queries, candidates)
    pairs, chunk = np.asarray(relevant, np.int64).reshape(-1, 2), _chunk(device)
    in_language, in_pool = np.ones((2, len(pairs)), np.int32)
    top = torch.zeros((len(queries), len(blocks)), dtype=torch.int32, device=device)
    steps, _ = grid(len(candidates))
    q, c = (torch.from_numpy(np.rint(side * np.float64(steps))).to(device) for side in (queries, candidates))
    sizes = torch.tensor([block.stop - block.start for block in blocks], device=device)
    stops, places = sizes.cumsum(0), torch.arange(len(blocks), device=device)
    answers = torch.from_numpy(pairs[:, 1].copy()).to(device)
    language = torch.bucketize(answers, stops, right=True)
    for start in progress_bar(range(0, len(q), chunk), desc="dealing out", unit="chunk"):
        ordered = q[start:start + chunk] @ c.T
        first, last = np.searchsorted(pairs[:, 0], [start, start + len(ordered)])
        asked = torch.from_numpy(pairs[first:last, 0] - start).to(device)
        own = language[first:last, None]
        turn = torch.ones(len(asked), dtype=torch.int64, device=device)  # of each pair: its rank in its language
        for number, block in enumerate(blocks):
            found = ordered[:, block].sort(stable=True, dim=1, descending=True)
            ordered[:, block] = found.values
            here = torch.nonzero(own[:, 0] == number)[:, 0]
            place = torch.empty_like(found.indices)
            place.scatter_(1, found.indices, torch.arange(place.shape[1], device=device).expand_as(place))
            turn[here] += place[asked[here], answers[first:last][here] - block.start]
        others = _dealt(ordered, blocks, asked, turn)
        score = others.gather(1, own)
        above = (others > score) | ((others == score) & (places < own))
        earlier = torch.minimum(sizes, turn[:, None] - 1)
        in_language[first:last] = turn.cpu().numpy()
        in_pool[first:last] = (1 + earlier.sum(1) + above.sum(1)).cpu().numpy()
        every = torch.arange(len(ordered), device=device)
        for number in range(1, TOP + 1):
            left = min(int((sizes >= number).sum()), TOP - int(sizes.clamp(max=number - 1).sum()))
            if left <= 0:
                break
            best = _dealt(ordered, blocks, every, torch.full_like(every, number)).sort(
                stable=True, dim=1, descending=True).indices[:, :left]
            top[start:start + chunk].scatter_add_(1, best, torch.ones_like(best, dtype=torch.int32))
    return in_language, in_pool, top.cpu().numpy()


def rank_test_set(test_set: TestSet, query_embeddings: np.ndarray, candidate_embeddings: np.ndarray,
                  device: str = "cpu", quota: bool = False) -> pd.DataFrame:
    """The ranks of a test set as a table, a row or more per query and language; in the pool by `rank_by_quota` or not.

    Returns
    -------
    DataFrame
        ``question``, ``cluster``, ``query_language``, ``language``; ``grade``, ``rank_in_language`` and
        ``rank_in_pool``, a row per relevant candidate in that language; one row of zeros where there is none; and
        ``top10``, how many of the first ten of the pool are in that language, in the first row of a query and language.
    """
    blocks = test_set.blocks()
    pairs = test_set.relevant[["query", "candidate"]].to_numpy()
    in_language, in_pool, top = (rank_by_quota if quota else rank)(
        query_embeddings, candidate_embeddings, pairs, [blocks[language] for language in test_set.languages],
        device=device)
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
