"""Ranks to numbers.

The functions of arrays take the ranks of a query's relevant candidates and nothing else; `per_query` applies them to
a ranks table (`hybridlib.evaluation.rank_test_set`). A `Measure` says what a column of that is called in titles, how
many digits it is worth, and which way is better.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

KEY = ["question", "cluster", "query_language"]


@dataclass(frozen=True)
class Measure:
    """A column of `per_query`, and how it is read.

    Attributes
    ----------
    name : str
        The column: "multilingual AP".
    title : str
        What its mean is called: "multilingual mAP".
    digits : int
        Behind the point, in tables.
    higher_is_better : bool
    """

    name: str
    title: str
    digits: int = 3
    higher_is_better: bool = True

    def __str__(self) -> str:
        return self.name

    def text(self, value: float, signed: bool = False) -> str:
        """A value as tables show it.

        >>> RANK_DISTANCE.text(12.345), HEADLINE[0].text(0.0125, signed=True)
        ('12.3', '+0.013')
        """
        return f"{value:{'+' if signed else ''}.{self.digits}f}"

    def better(self, difference: float) -> float:
        """A difference with the sign of what is better: positive where the first of the two is."""
        return difference if self.higher_is_better else -difference


RANK_DISTANCE = Measure("rank distance", "rank distance", digits=1, higher_is_better=False)
# The paper's four numbers.
HEADLINE = (Measure("monolingual AP", "monolingual mAP"), Measure("crosslingual AP", "cross-lingual mAP"),
            Measure("multilingual AP", "multilingual mAP"), RANK_DISTANCE)
# What a mixed pool gives to those who want the answer in their own language.
OWN_LANGUAGE = (
    Measure("own-language rank", "own-language rank", digits=1, higher_is_better=False),
    Measure("own language first", "own language first"),
    Measure("others above own", "others above own", higher_is_better=False))
# All columns of `per_query`, by name.
MEASURES = {measure.name: measure for measure in (
    *HEADLINE,
    *(Measure(f"{setting} {name}", f"{title} {name}") for setting, title, names in (
        ("monolingual", "monolingual", ("R@1", "P@1", "RR", "nDCG@10")),
        ("crosslingual", "cross-lingual", ("R@1", "P@1", "RR", "nDCG@10")),
        ("multilingual", "multilingual", ("R@10", "P@10", "RR", "nDCG@10"))) for name in names),
    *OWN_LANGUAGE, Measure("TLR@20", "TLR@20"), Measure("Max@R", "Max@R", digits=1, higher_is_better=False),
    Measure("Complete@10", "Complete@10"), Measure("PEER@20", "PEER@20"), Measure("PEER@100", "PEER@100"))}


def _found(ranks: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    ranks = np.asarray(ranks)
    return ranks, ranks > 0


def average_precision(ranks: ArrayLike) -> np.ndarray:
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


def recall(ranks: ArrayLike, k: int) -> np.ndarray:
    """Share of the relevant candidates that are among the first k, (…, n) to (…); NaN where there is none.

    >>> recall([[1, 4], [2, 0]], 2).tolist()
    [0.5, 1.0]
    """
    ranks, there = _found(ranks)
    with np.errstate(invalid="ignore"):
        return ((ranks <= k) & there).sum(-1) / there.sum(-1)


def precision(ranks: ArrayLike, k: int) -> np.ndarray:
    """Share of the first k candidates that are relevant, (…, n) to (…).

    >>> precision([[1, 4], [2, 0]], 2).tolist()
    [0.5, 0.5]
    """
    ranks, there = _found(ranks)
    return ((ranks <= k) & there).sum(-1) / k


def reciprocal_rank(ranks: ArrayLike) -> np.ndarray:
    """One over the rank of the first relevant candidate, (…, n) to (…).

    >>> reciprocal_rank([[3, 4], [2, 0]]).round(3).tolist()
    [0.333, 0.5]
    """
    ranks, there = _found(ranks)
    return 1 / np.where(there, ranks, np.iinfo(np.int64).max).min(-1)


def ndcg(ranks: ArrayLike, k: int, grades: ArrayLike | None = None) -> np.ndarray:
    """Normalised discounted cumulative gain at k, (…, n) to (…).

    Jarvelin and Kekalainen 2002; the gain is the grade, the discount 1 / log2(1 + rank), as in trec_eval.

    Parameters
    ----------
    ranks : array_like of int
    k : int
    grades : array_like of int, optional
        Of the same shape; all 1 by default.

    Examples
    --------
    >>> ndcg([[1, 2], [2, 0]], 10).round(3).tolist()
    [1.0, 0.631]
    >>> ndcg([1, 2], 10, [1, 3]).round(3).tolist()
    0.797
    """
    ranks, there = _found(ranks)
    gains = np.where(there, 1 if grades is None else grades, 0)
    gained = np.where(ranks <= k, gains / np.log2(1 + np.maximum(ranks, 1)), 0).sum(-1)
    ideal = -np.sort(-gains, axis=-1)[..., :k]
    return gained / np.cumsum(ideal / np.log2(1 + np.arange(1, ideal.shape[-1] + 1)), axis=-1)[..., -1]


def rank_distance(ranks: ArrayLike) -> np.ndarray:
    """Highest minus lowest rank of the relevant candidates, (…, n) to (…): the paper's language bias.

    0 if there is only one. Of several relevant candidates in a language `per_query` takes the best. It grows with the
    pool: compare within one test set only.

    >>> rank_distance([[1, 40, 7], [2, 0, 0]]).tolist()
    [39, 0]
    """
    ranks, there = _found(ranks)
    lowest = np.where(there, ranks, np.iinfo(np.int64).max).min(-1)
    return ranks.max(-1) - lowest


def complete(ranks: ArrayLike, k: int) -> np.ndarray:
    """1 where all relevant candidates are among the first k, else 0, (…, n) to (…); 0 where there are more than k.

    >>> complete([[1, 4], [2, 0]], 2).tolist()
    [0.0, 1.0]
    """
    return (np.asarray(ranks) <= k).all(-1).astype(float)


def own_language_rank(ranks: ArrayLike, own: ArrayLike) -> np.ndarray:
    """Rank of the best relevant candidate in the query's language, (…, n) to (…); NaN where there is none.

    Parameters
    ----------
    ranks : array_like of int
    own : array_like of bool
        Of the same shape: which of them are in the query's language.

    Examples
    --------
    >>> own_language_rank([[7, 3, 1], [2, 1, 0]], [[1, 1, 0], [0, 0, 0]]).tolist()
    [3.0, nan]
    """
    ranks, there = _found(ranks)
    best = np.where(there & np.asarray(own, bool), ranks, np.inf).min(-1)
    return np.where(np.isfinite(best), best, np.nan)


def others_above_own(ranks: ArrayLike, own: ArrayLike) -> np.ndarray:
    """Share of the relevant candidates in other languages that stand above the best one in the query's own.

    (…, n) and (…, n) to (…), as `own_language_rank`; NaN where either side has none.

    >>> others_above_own([[7, 3, 1, 9], [2, 1, 0, 0]], [[1, 1, 0, 0], [1, 1, 0, 0]]).tolist()
    [0.5, nan]
    """
    ranks, there = _found(ranks)
    best, others = own_language_rank(ranks, own), there & ~np.asarray(own, bool)
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(best), np.nan, (others & (ranks < best[..., None])).sum(-1) / others.sum(-1))


def peer(ranks: ArrayLike, languages: ArrayLike, k: int) -> np.ndarray:
    """p-value of a Kruskal-Wallis test of the relevant ranks by language, (Q, n) to (Q,).

    PEER (Yang et al. 2024, arXiv 2405.00978): a high one says that no language is seen to be favoured. Ranks beyond k
    count as k + 1; 1 where all are equal then, NaN where all are of one language. With one relevant candidate in each
    language the ranks of the test are always 1 … R, and without ties its p-value is the same for every query.

    Parameters
    ----------
    ranks, languages : array_like of int, shape (Q, n)
        Languages are numbered from 0.
    k : int

    Examples
    --------
    Ranks 1 and 2 in one language, 3 and beyond 20 in the other: H = 2.4.

    >>> peer([[1, 2, 3, 40], [1, 2, 0, 0]], [[0, 0, 1, 1], [0, 0, 0, 0]], 20).round(4).tolist()
    [0.1213, nan]
    """
    ranks, there = _found(ranks)
    counted = np.where(there, np.minimum(ranks, k + 1), k + 2)  # those that are not there stand behind all others
    low, high = (stats.rankdata(counted, method, axis=-1) for method in ("min", "max"))
    count = there.sum(-1)
    cell = np.arange(len(ranks))[:, None] * (np.max(languages, initial=0) + 1) + languages
    shape = len(ranks), np.max(languages, initial=0) + 1
    sizes, sums = (np.bincount(cell[there], weights, np.prod(shape)).reshape(shape)
                   for weights in (None, ((low + high) / 2)[there]))
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.where(sizes > 0, sums**2 / sizes, 0).sum(-1) * 12 / (count * (count + 1)) - 3 * (count + 1)
        # A tie of t takes t³ − t, and each of its t members t² − 1.
        ties = np.where(there, (high - low + 1)**2 - 1, 0).sum(-1) / (count**3 - count)
        p_values = np.where(ties < 1, stats.chi2.sf(between / (1 - ties), (sizes > 0).sum(-1) - 1), 1)
    return np.where((sizes > 0).sum(-1) > 1, p_values, np.nan)


def _grouped(rows: pd.DataFrame, by: list[str], *columns: str) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Rows by group: a frame of the groups, in order of appearance, and per column an array (groups, most rows).

    A group with fewer rows has zeros behind them.
    """
    groups = rows.groupby(by, sort=False)
    number, place = groups.ngroup().to_numpy(), groups.cumcount().to_numpy()
    shape = (groups.ngroups, place.max(initial=0) + 1)
    arrays = []
    for column in columns:
        array = np.zeros(shape, np.int64)
        array[number, place] = rows[column].to_numpy()
        arrays.append(array)
    return rows.loc[place == 0, by].reset_index(drop=True), arrays


def per_query(ranks: pd.DataFrame) -> pd.DataFrame:
    """All measures of each query, from a ranks table (see `hybridlib.evaluation.rank_test_set`).

    Returns
    -------
    DataFrame
        ``question``, ``cluster``, ``query_language`` and a column per name in `MEASURES`: ``<setting> AP`` (whose mean
        is the setting's mAP), ``R@1`` monolingual and cross-lingual, ``R@10`` multilingual, and further ``P@k``, ``RR``
        and ``nDCG@10``; ``rank distance`` in the pool. Cross-lingual numbers are means over the other languages that
        have something relevant. NaN where a query has nothing relevant in its own language, or in no other.

        Of the pool also: ``own-language rank``, that of the best relevant candidate in the query's language, ``own
        language first``, whether it is 1, and `others_above_own`; ``TLR@20``, recall at 20 of what is not in the
        query's language; ``Max@R``, the rank at which all that is relevant has been seen; `complete` at 10; and `peer`
        at 20 and 100.
    """
    found = ranks[ranks["rank_in_pool"] > 0]
    same = found["language"] == found["query_language"]

    def single(rows: pd.DataFrame, setting: str) -> pd.DataFrame:
        groups, (one, grades) = _grouped(rows, [*KEY, "language"], "rank_in_language", "grade")
        values = {"AP": average_precision(one), "R@1": recall(one, 1), "P@1": precision(one, 1),
                  "RR": reciprocal_rank(one), "nDCG@10": ndcg(one, 10, grades)}
        table = groups[KEY].assign(**{f"{setting} {name}": value for name, value in values.items()})
        return table.groupby(KEY, sort=False).mean()

    numbered = found.assign(own=same, number=pd.factorize(found["language"])[0])
    keys, (pool, grades, own, languages) = _grouped(numbered, KEY, "rank_in_pool", "grade", "own", "number")
    own_rank = own_language_rank(pool, own)
    best = found.sort_values("rank_in_pool", kind="stable").drop_duplicates([*KEY, "language"])
    of_languages, (apart,) = _grouped(best, KEY, "rank_in_pool")
    multilingual = pd.DataFrame({
        "multilingual AP": average_precision(pool), "multilingual R@10": recall(pool, 10),
        "multilingual P@10": precision(pool, 10), "multilingual RR": reciprocal_rank(pool),
        "multilingual nDCG@10": ndcg(pool, 10, grades),
        "own-language rank": own_rank, "own language first": np.where(np.isnan(own_rank), np.nan, own_rank == 1),
        "others above own": others_above_own(pool, own), "TLR@20": recall(np.where(own, 0, pool), 20),
        "Max@R": pool.max(-1), "Complete@10": complete(pool, 10),
        **{f"PEER@{k}": peer(pool, languages, k) for k in (20, 100)}}, index=pd.MultiIndex.from_frame(keys))
    distance = pd.Series(rank_distance(apart), pd.MultiIndex.from_frame(of_languages), name="rank distance")
    table = single(found[same], "monolingual").join(single(found[~same], "crosslingual"), how="outer")
    return table.join(multilingual, how="outer").join(distance).reset_index()


def language_pairs(ranks: pd.DataFrame) -> pd.DataFrame:
    """The mAP of every pair of languages, query languages × candidate languages; the diagonal is monolingual."""
    found = ranks[ranks["rank_in_language"] > 0]
    groups, (one,) = _grouped(found, [*KEY, "language"], "rank_in_language")
    return groups.assign(ap=average_precision(one)).groupby(["query_language", "language"])["ap"].mean().unstack()


def top_shares(ranks: pd.DataFrame) -> pd.DataFrame:
    """Share of each language in the first ten of the pool: query languages × languages; rows sum to 1."""
    counts = ranks.groupby(["query_language", "language"])["top10"].sum().unstack()
    return counts.div(counts.sum(axis=1), axis=0)


def per_language(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the queries of each language: a row per query language, a column per measure.

    Parameters
    ----------
    table : DataFrame (see `per_query`)
        Of one run.
    """
    return table.groupby("query_language")[[name for name in table if name in MEASURES]].mean()


def macro(results: pd.DataFrame, measure: str | Measure, languages: Iterable[str] | None = None) -> pd.Series:
    """The headline of every run: the mean over query languages of the means over queries.

    Parameters
    ----------
    results : DataFrame
        `per_query` of one or more runs, with ``system`` and ``seed`` (see `hybridlib.evaluation.intervals`).
    measure : str or Measure
    languages : iterable of str, optional
        Some query languages only (the unseen ones, say).

    Returns
    -------
    Series
        Indexed by ``(system, seed)``, in the order of the table.
    """
    if languages is not None:
        results = results[results["query_language"].isin(list(languages))]
    sums, counts = sums_and_counts(results, measure, ["system", "seed", "query_language"])
    return (sums / counts).groupby(["system", "seed"], sort=False).mean()


def sums_and_counts(results: pd.DataFrame, measure: str | Measure, by: list[str]) -> tuple[pd.Series, pd.Series]:
    """Sum and number of a measure's values in groups of rows, of `per_query` as of `cells`."""
    groups = results.groupby(by, sort=False)
    counts = groups[_count(measure)].sum() if _count(measure) in results else groups[str(measure)].count()
    return groups[str(measure)].sum(), counts


def _count(measure: str | Measure) -> str:
    return f"{measure}: queries"


def cells(table: pd.DataFrame, measures: Iterable[str | Measure] = tuple(MEASURES)) -> pd.DataFrame:
    """`per_query` added up over the queries of each cluster and language: all that means and intervals need.

    Small enough to keep for every run (of XQuAD-R 528 rows instead of 13,090), and taken by `macro` and by all of
    `hybridlib.evaluation.intervals` in place of the queries. Nothing is rounded.

    Parameters
    ----------
    table : DataFrame (see `per_query`)
        Of one run.
    measures : iterable of str or Measure

    Returns
    -------
    DataFrame
        ``cluster``, ``query_language``, and per measure its sum and the number of queries that have one, in a column
        of the measure's name and in ``<measure>: queries``.
    """
    columns: dict[str, pd.Series] = {}
    for measure in measures:
        sums, counts = sums_and_counts(table, measure, ["cluster", "query_language"])
        columns |= {str(measure): sums, _count(measure): counts}
    return pd.DataFrame(columns).reset_index()
