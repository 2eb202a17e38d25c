"""Ranks to numbers.

The functions of arrays take the ranks of a query's relevant candidates and nothing else; `per_query` applies
them to the ranks table of a run. In the monolingual and cross-lingual settings a query has one relevant
candidate, so that average precision, reciprocal rank and 1/rank are the same number.
"""

import numpy as np
import pandas as pd

SETTINGS = ("monolingual", "crosslingual", "multilingual")


def _found(ranks):
    ranks = np.asarray(ranks)
    return ranks, ranks > 0


def average_precision(ranks):
    """Average precision of each query, (…, n) ranks of the n relevant candidates to (…); 0 marks an absent one.

    The mean over the relevant candidates of the precision at their ranks.

    >>> average_precision([[1, 4], [2, 0]]).tolist()
    [0.75, 0.5]
    """
    ranks, there = _found(ranks)
    ordered = np.sort(np.where(there, ranks, np.iinfo(np.int64).max), axis=-1)
    precision = np.arange(1, ranks.shape[-1] + 1) / ordered
    count = there.sum(-1)
    return np.where(np.sort(~there, axis=-1), 0, precision).sum(-1) / count


def recall(ranks, k):
    """Share of the relevant candidates that are among the first k, (…, n) to (…).

    >>> recall([[1, 4], [2, 0]], 2).tolist()
    [0.5, 1.0]
    """
    ranks, there = _found(ranks)
    return ((ranks <= k) & there).sum(-1) / there.sum(-1)


def precision(ranks, k):
    """Share of the first k candidates that are relevant, (…, n) to (…).

    >>> precision([[1, 4], [2, 0]], 2).tolist()
    [0.5, 0.5]
    """
    ranks, there = _found(ranks)
    return ((ranks <= k) & there).sum(-1) / k


def reciprocal_rank(ranks):
    """One over the rank of the first relevant candidate, (…, n) to (…).

    >>> reciprocal_rank([[3, 4], [2, 0]]).round(3).tolist()
    [0.333, 0.5]
    """
    ranks, there = _found(ranks)
    return 1 / np.where(there, ranks, np.iinfo(np.int64).max).min(-1)


def ndcg(ranks, k):
    """Normalised discounted cumulative gain at k with gains of 0 and 1, (…, n) to (…).

    Jarvelin and Kekalainen 2002, with discount 1 / log2(1 + rank).

    >>> ndcg([[1, 2], [2, 0]], 10).round(3).tolist()
    [1.0, 0.631]
    """
    ranks, there = _found(ranks)
    gained = np.where((ranks <= k) & there, 1 / np.log2(1 + np.maximum(ranks, 1)), 0).sum(-1)
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, max(k, ranks.shape[-1]) + 1)))
    return gained / ideal[np.minimum(there.sum(-1), k) - 1]


def rank_distance(ranks):
    """Highest minus lowest rank of the relevant candidates, (…, n) to (…): the paper's language bias.

    0 if there is only one. It grows with the pool: compare within one benchmark only.

    >>> rank_distance([[1, 40, 7], [2, 0, 0]]).tolist()
    [39, 0]
    """
    ranks, there = _found(ranks)
    lowest = np.where(there, ranks, np.iinfo(np.int64).max).min(-1)
    return ranks.max(-1) - lowest


def per_query(ranks):
    """All measures of each query, from a ranks table (see `hybridlib.ranking.rank_benchmark`).

    Returns
    -------
    DataFrame
        ``question``, ``article``, ``query_language`` and a column per measure: ``<setting> AP`` (whose mean
        is the setting's mAP), ``R@1`` monolingual and cross-lingual, ``R@10`` multilingual, and further
        ``P@k``, ``RR`` and ``nDCG@10``; ``rank distance`` in the pool. Cross-lingual numbers are means over
        the other languages' candidates.
    """
    key = ["question", "article", "query_language"]
    found = ranks[ranks["rank_in_pool"] > 0]
    same = found["language"] == found["query_language"]

    def single(rows, setting):
        one = rows[["rank_in_language"]].to_numpy()
        values = {"AP": average_precision(one), "R@1": recall(one, 1), "P@1": precision(one, 1),
                  "RR": reciprocal_rank(one), "nDCG@10": ndcg(one, 10)}
        values = pd.DataFrame({f"{setting} {name}": value for name, value in values.items()}, index=rows.index)
        return pd.concat([rows[key], values], axis=1).groupby(key, sort=False).mean()

    pool = ranks.pivot(index=key, columns="language", values="rank_in_pool").fillna(0).astype(np.int64)
    of_pool = pool.to_numpy()
    multilingual = pd.DataFrame({
        "multilingual AP": average_precision(of_pool), "multilingual R@10": recall(of_pool, 10),
        "multilingual P@10": precision(of_pool, 10), "multilingual RR": reciprocal_rank(of_pool),
        "multilingual nDCG@10": ndcg(of_pool, 10), "rank distance": rank_distance(of_pool)}, index=pool.index)
    table = single(found[same], "monolingual").join(single(found[~same], "crosslingual"), how="outer")
    return table.join(multilingual, how="outer").reset_index()


def language_pairs(ranks):
    """The mAP of every pair of languages, query languages × candidate languages; the diagonal is monolingual.

    With one relevant candidate the average precision is 1 / rank.
    """
    found = ranks[ranks["rank_in_language"] > 0]
    precisions = (1 / found["rank_in_language"]).groupby([found["query_language"], found["language"]]).mean()
    return precisions.unstack()


def top_shares(ranks):
    """Share of each language in the first ten of the pool: query languages × languages; rows sum to 1."""
    counts = ranks.groupby(["query_language", "language"])["top10"].sum().unstack()
    return counts.div(counts.sum(axis=1), axis=0)


def expected_average_precision(relevant, candidates):
    """Average precision of ``relevant`` candidates in a random order of ``candidates``, in expectation.

    The candidate at rank k is relevant with probability R / N, and then (k − 1)(R − 1) / (N − 1) of those above it
    are, in expectation.

    >>> round(expected_average_precision(1, 4), 4)  # (1 + 1/2 + 1/3 + 1/4) / 4
    0.5208
    """
    ranks = np.arange(1, candidates + 1)
    others = (relevant - 1) / max(candidates - 1, 1)
    return float(((1 + (ranks - 1) * others) / ranks).mean())


def expected_rank_distance(relevant, candidates):
    """Rank distance of ``relevant`` candidates in a random order of ``candidates``, in expectation.

    The extremes of R draws without replacement from 1 … N lie (N + 1)(R − 1) / (R + 1) apart.

    >>> expected_rank_distance(2, 2)
    1.0
    """
    return (candidates + 1) * (relevant - 1) / (relevant + 1)


def chance(benchmark):
    """The four headline numbers of an encoder that knows nothing: a dict of measure to expected value."""
    sizes = benchmark.counts()["candidates"]
    there = benchmark.relevant >= 0
    asked = pd.DataFrame({"language": benchmark.queries["language"].to_numpy(), "relevant": there.sum(1)})
    single = sizes.map(lambda size: expected_average_precision(1, size)).to_numpy()
    own = benchmark.queries["language"].map(dict(zip(sizes.index, single, strict=True))).to_numpy()
    with np.errstate(invalid="ignore"):
        asked["monolingual AP"] = own
        asked["crosslingual AP"] = ((there * single).sum(1) - own) / (asked["relevant"] - 1)
    pool = len(benchmark.candidates)
    for measure, expected in (("multilingual AP", expected_average_precision),
                              ("rank distance", expected_rank_distance)):
        asked[measure] = asked["relevant"].map({n: expected(n, pool) for n in asked["relevant"].unique()})
    return asked.drop(columns="relevant").groupby("language").mean().mean().to_dict()


def per_language(table):
    """Means over the queries of each language: a row per query language, a column per measure."""
    return table.drop(columns=["question", "article"]).groupby("query_language").mean()


def macro(table, languages=None):
    """The paper's headline: the mean over query languages of the means over queries, a number per measure.

    ``languages`` restricts it to some query languages (the unseen ones, say).
    """
    means = per_language(table)
    return (means if languages is None else means.loc[list(languages)]).mean()
