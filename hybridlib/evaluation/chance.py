"""What an encoder that knows nothing would get: expected values under a random order of the candidates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hybridlib.data import TestSet


def expected_average_precision(relevant: int, candidates: int) -> float:
    """Average precision of ``relevant`` candidates in a random order of ``candidates``, in expectation.

    The candidate at rank k is relevant with probability R / N, and then (k − 1)(R − 1) / (N − 1) of those above it
    are, in expectation.

    >>> round(expected_average_precision(1, 4), 4)  # (1 + 1/2 + 1/3 + 1/4) / 4
    0.5208
    """
    ranks = np.arange(1, candidates + 1)
    others = (relevant - 1) / max(candidates - 1, 1)
    return float(((1 + (ranks - 1) * others) / ranks).mean())


def expected_rank_distance(relevant: Sequence[int], candidates: int) -> float:
    """Rank distance in a random order of ``candidates``, in expectation.

    The best of R candidates stands at (N + 1) / (R + 1). The worst of the languages' best ones stands at (N + 1) times
    the mean of the same maximum over uniform draws from the unit interval: ∫ 1 − Π(1 − (1 − t)^r) dt, a polynomial,
    integrated exactly.

    Parameters
    ----------
    relevant : sequence of int
        How many relevant candidates each language has; those without any left out.
    candidates : int

    Examples
    --------
    With one in each of R languages it is (N + 1)(R − 1) / (R + 1):

    >>> round(expected_rank_distance([1, 1], 2), 9), round(expected_rank_distance([1, 1, 1], 9), 9)
    (1.0, 5.0)
    """
    counts = np.asarray(relevant)
    total = int(counts.sum())
    nodes, weights = np.polynomial.legendre.leggauss(total // 2 + 1)
    below = 1 - (1 - (nodes + 1) / 2)[:, None] ** counts  # that the best of each language stands below a point
    worst = float(weights @ (1 - below.prod(1)) / 2)
    return (candidates + 1) * (worst - 1 / (total + 1))


def chance(test_set: TestSet) -> dict[str, float]:
    """The four headline numbers of an encoder that knows nothing: a dict of measure to expected value."""
    languages = list(test_set.languages)
    code = {x: n for n, x in enumerate(languages)}
    sizes = test_set.counts()["candidates"].to_numpy()
    there = np.zeros((len(test_set.queries), len(languages)), np.int64)
    np.add.at(there, (test_set.relevant["query"], test_set.candidates["language"].map(code).to_numpy()[
        test_set.relevant["candidate"]]), 1)
    own = np.arange(len(languages)) == test_set.queries["language"].map(code).to_numpy()[:, None]
    single, pool = np.full(there.shape, np.nan), len(test_set.candidates)
    for language, size in enumerate(sizes):
        for count in np.unique(there[:, language]):
            if count:
                single[there[:, language] == count, language] = expected_average_precision(int(count), int(size))
    asked = pd.DataFrame({"language": test_set.queries["language"]})
    asked["monolingual AP"] = np.where(own, single, np.nan)[np.arange(len(own)), own.argmax(1)]
    asked["crosslingual AP"] = pd.DataFrame(np.where(own, np.nan, single)).mean(axis=1)
    asked["multilingual AP"] = pd.Series(there.sum(1)).map(
        {n: expected_average_precision(int(n), pool) for n in np.unique(there.sum(1))})
    shapes, which = np.unique(np.sort(there, axis=1), axis=0, return_inverse=True)
    asked["rank distance"] = np.array([expected_rank_distance(row[row > 0], pool) for row in shapes])[which.ravel()]
    return asked.groupby("language").mean().mean().to_dict()
