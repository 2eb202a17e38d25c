"""Embeddings to ranks: two integers per query and language carry the whole evaluation.

``rank_in_language[q, l]`` is the rank of q's relevant sentence of language l among the candidates of l, and
``rank_in_pool[q, l]`` its rank among the candidates of all languages; the best rank is 1.

Ties: candidates of equal score are ranked in the order of the benchmark, as a stable sort would.
"""

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from hybridlib import encoders

TOP = 10


def grid(candidates):
    """Steps per unit that embeddings are rounded to, for a pool of that many candidates: ``(steps, positions)``.

    With rounded embeddings and a step of ``positions`` between scores, score and place in the pool fit one
    integer under 2**53: every sum is exact in float64, whatever the chunk, the threads or the order in which a
    BLAS adds, no two keys of a query are equal, and ties are true ties.

    >>> grid(13014)
    (524288, 16384)
    """
    bits = max(1, (candidates - 1).bit_length())
    if bits > 20:
        raise ValueError(f"{candidates} candidates; at most {2**20} can be ranked in one pool (see hybridlib.search)")
    return 2 ** ((52 - bits) // 2), 2**bits


def rank(queries, candidates, relevant, blocks, chunk=64):
    """Rank every query's relevant candidates, in their language and in the pool.

    Parameters
    ----------
    queries : ndarray of float32, shape (Q, width), of unit length
    candidates : ndarray of float32, shape (C, width), of unit length
    relevant : ndarray of int, shape (Q, L)
        Row of the relevant candidate per language, −1 where there is none.
    blocks : list of slice, length L
        Where each language's candidates stand.
    chunk : int
        Queries scored at once; the ranks do not depend on it.

    Returns
    -------
    (ndarray, ndarray, ndarray) of int32, each of shape (Q, L)
        ``rank_in_language`` and ``rank_in_pool``, 0 where nothing is relevant; ``top10``, how many of the first
        ten of the pool are in each language.
    """
    steps, positions = grid(len(candidates))
    q = torch.from_numpy(np.rint(queries * np.float64(steps)) * positions)
    c = torch.from_numpy(np.rint(candidates * np.float64(steps))).T.contiguous()
    place = -torch.arange(c.shape[1], dtype=torch.float64)
    relevant = torch.from_numpy(np.array(relevant, np.int64))
    in_language = torch.zeros(relevant.shape, dtype=torch.int32)
    in_pool, top = torch.zeros_like(in_language), torch.zeros_like(in_language)
    stops = torch.tensor([block.stop for block in blocks])
    for start in tqdm(range(0, len(q), chunk), desc="ranking", unit="chunk"):
        rows = slice(start, start + chunk)
        keys = torch.addmm(place, q[rows], c)  # (chunk, C)
        there = relevant[rows] >= 0
        of_relevant = keys.gather(1, relevant[rows].clamp(min=0))
        for column, block in enumerate(blocks):
            above = keys > of_relevant[:, column, None]
            in_pool[rows, column] = (above.sum(1, dtype=torch.int32) + 1) * there[:, column]
            in_language[rows, column] = (above[:, block].sum(1, dtype=torch.int32) + 1) * there[:, column]
        first = torch.bucketize(keys.topk(min(TOP, keys.shape[1])).indices, stops, right=True)
        top[rows].scatter_add_(1, first, torch.ones_like(first, dtype=torch.int32))
    return in_language.numpy(), in_pool.numpy(), top.numpy()


def rank_benchmark(benchmark, query_embeddings, candidate_embeddings):
    """The ranks of a benchmark as a table, one row per query and language.

    Returns
    -------
    DataFrame
        ``question``, ``article``, ``query_language``, ``language``; ``rank_in_language`` and ``rank_in_pool`` of
        the relevant sentence in that language, 0 where there is none; ``top10``, how many of the first ten of
        the pool are in that language. It is what a run keeps in ``ranks.<benchmark>.parquet``.
    """
    blocks = benchmark.blocks()
    in_language, in_pool, top = rank(query_embeddings, candidate_embeddings, benchmark.relevant,
                                     [blocks[language] for language in benchmark.languages])
    languages = len(benchmark.languages)
    queries = benchmark.queries.loc[benchmark.queries.index.repeat(languages)]
    return pd.DataFrame({
        "question": queries["question"].to_numpy(), "article": queries["article"].to_numpy(),
        "query_language": queries["language"].to_numpy(),
        "language": np.tile(benchmark.languages, len(benchmark.queries)),
        "rank_in_language": in_language.ravel(), "rank_in_pool": in_pool.ravel(), "top10": top.ravel()})


def embed(siblings, benchmark, prompts=encoders.E5_PROMPTS):
    """Encode a benchmark's texts, each once.

    Parameters
    ----------
    siblings : hybridlib.encoders.Siblings
    benchmark : hybridlib.benchmarks.Benchmark
    prompts : hybridlib.encoders.Prompts

    Returns
    -------
    (list of (ndarray, ndarray), dict)
        Per model the embeddings of the queries and of the candidates; the encoder's counts for both.
    """
    queries, query_counts = encoders.encode_all(
        siblings, benchmark.queries["text"].tolist(), prompts.query, description="queries")
    candidates, candidate_counts = encoders.encode_all(
        siblings, benchmark.candidates["text"].tolist(), prompts.passage, description="candidates")
    return list(zip(queries, candidates, strict=True)), {"queries": query_counts, "candidates": candidate_counts}
