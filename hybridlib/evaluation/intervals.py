"""How sure a number is: intervals and paired tests over what varies.

Two things vary: which clusters of questions (articles, say) the test has, and which seed a model was trained with.
`bootstrap` resamples whole clusters, the same ones for every system; `hierarchical_bootstrap` adds the seeds.
Everything is computed from results: the rows of `hybridlib.evaluation.per_query` for one or more runs, with columns
``system`` and ``seed``, where `NO_SEED` stands for what was not trained here.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from hybridlib.evaluation.measures import Measure, macro, sums_and_counts

NO_SEED = -1
_MOST_WEIGHTS = 2**24  # held at once by a bootstrap: draws times clusters


def _tables(rows: pd.DataFrame, measure: str, clusters: Sequence, languages: Sequence[str],
            ) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of a measure: two arrays of shape (clusters, languages)."""
    sums, counts = (found.unstack().reindex(index=clusters, columns=languages).fillna(0).to_numpy()
                    for found in sums_and_counts(rows, measure, ["cluster", "query_language"]))
    return sums, counts


def bootstrap(results: pd.DataFrame, measure: str | Measure, draws: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Macro means of all systems under resampled clusters.

    The questions of a cluster (an article, say) are not independent, so whole clusters are drawn with replacement (a
    cluster bootstrap; Field and Welsh 2007), the same ones for every system, so that differences of columns are
    paired. The seeds of a system are averaged first: the draws hold the choice of clusters, not that of seeds.

    Parameters
    ----------
    results : DataFrame
        ``system``, ``seed``, ``cluster``, ``query_language`` and a column ``measure``.
    measure : str or Measure
    draws, seed : int

    Returns
    -------
    DataFrame
        ``draws`` rows, a column per system: the mean over languages of the means over queries.
    """
    clusters, languages = sorted(results["cluster"].unique()), sorted(results["query_language"].unique())
    rng, even = np.random.default_rng(seed), np.full(len(clusters), 1 / len(clusters))
    tables = {system: _tables(rows, str(measure), clusters, languages)
              for system, rows in results.groupby("system", sort=False)}
    parts = []
    # In parts, since every query may be a cluster of its own; they are drawn one after the other anyway.
    step = max(1, _MOST_WEIGHTS // len(clusters))
    for start in range(0, draws, step):
        weights = rng.multinomial(len(clusters), even, size=min(step, draws - start)).astype(float)  # (draws, clusters)
        columns = {}
        for system, (sums, counts) in tables.items():
            # A small draw may leave a language without a query; the mean is over those that have one.
            with np.errstate(invalid="ignore"):
                means = (weights @ sums) / (weights @ counts)
                asked = ~np.isnan(means)
                columns[system] = np.where(asked, means, 0).sum(axis=1) / asked.sum(axis=1)
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def hierarchical_bootstrap(results: pd.DataFrame, measure: str | Measure, draws: int = 10_000,
                           seed: int = 0) -> pd.DataFrame:
    """Macro means of all systems under resampled clusters *and* seeds.

    Clusters are resampled as in `bootstrap`. Seeds are three or five, too few to
    resample (their own bootstrap covers far less than it says); instead each system's mean over its n seeds moves
    by s / √n times a draw from Student's t with n − 1 degrees of freedom, s the standard deviation over seeds. Seeds
    are paired: batch k of a seed comes from the same random draws in every sampling (see
    `hybridlib.training.LanguageBatchSampler`), and "Hybrid" and "Hybrid + subspace" are the same runs. So all systems
    move together, by the multivariate t, and a difference of two has the spread of the differences within seeds.
    With one trained seed the variance is unknown, and trained systems are NaN throughout; an untrained one
    (`NO_SEED`) has none.

    Returns
    -------
    DataFrame
        As `bootstrap`.

    Raises
    ------
    ValueError
        If the trained systems do not have the same seeds.
    """
    table = bootstrap(results, measure, draws, seed)
    means = by_seed(results, measure)
    if means.empty:
        return table
    count = means.shape[1]
    if count < 2:
        table[means.index] = np.nan
        return table
    rng = np.random.default_rng([seed, 1])
    deviations = means.sub(means.mean(axis=1), axis=0).to_numpy()  # (systems, seeds)
    together = rng.standard_normal((draws, count)) @ deviations.T / np.sqrt(count * (count - 1))
    table[means.index] += together / np.sqrt(rng.chisquare(count - 1, (draws, 1)) / (count - 1))
    return table


def by_seed(results: pd.DataFrame, measure: str | Measure) -> pd.DataFrame:
    """Macro means of the trained systems, a column per seed."""
    means = macro(results[results["seed"] != NO_SEED], measure).unstack("seed")
    if means.isna().any(axis=None):
        raise ValueError("seeds are paired, so all trained systems must have the same: " + "; ".join(
            f"{system} has {', '.join(str(seed) for seed in row.dropna().index)}" for system, row in means.iterrows()))
    return means


def draws_of(results: pd.DataFrame, measure: str | Measure, draws: int = 10_000) -> pd.DataFrame:
    """`hierarchical_bootstrap` where there are several seeds, else `bootstrap`; `what_varies` says which."""
    several = len(results.loc[results["seed"] != NO_SEED, "seed"].unique()) > 1
    return (hierarchical_bootstrap if several else bootstrap)(results, measure, draws)


def what_varies(results: pd.DataFrame, clusters: str = "articles") -> str:
    """What intervals from `draws_of` hold: "articles and 3 seeds", or "articles" where there is one seed."""
    count = results.loc[results["seed"] != NO_SEED, "seed"].nunique()
    return f"{clusters} and {count} seeds" if count > 1 else clusters


def interval(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws: ``(low, high)``.

    >>> low, high = interval(np.arange(101.0))
    >>> round(low, 6), round(high, 6)
    (2.5, 97.5)
    """
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def p_value(draws: ArrayLike, bound: float = 0.0) -> float:
    """One-sided bootstrap p-value of "the truth is at most ``bound``", with one added to both counts.

    >>> p_value(np.arange(1.0, 100.0))
    0.01
    """
    draws = np.asarray(draws)
    return float((np.sum(draws <= bound) + 1) / (len(draws) + 1)) if not np.isnan(draws).any() else float("nan")


def by_cluster(results: pd.DataFrame, measure: str | Measure, first: str, second: str) -> pd.Series:
    """What each cluster adds to the macro difference of two systems (the mean over seeds of each): a Series."""
    clusters, languages = sorted(results["cluster"].unique()), sorted(results["query_language"].unique())
    parts = []
    for system in (first, second):
        sums, counts = _tables(results[results["system"] == system], str(measure), clusters, languages)
        parts.append((sums / counts.sum(0)).mean(1))
    return pd.Series(parts[0] - parts[1], clusters)


def permutation(results: pd.DataFrame, measure: str | Measure, first: str, second: str, draws: int = 9_999,
                seed: int = 0) -> float:
    """Two-sided p-value that two systems do not differ, given their seeds: clusters swap systems as a whole.

    The paired permutation test with clusters as units, by `scipy.stats.permutation_test`.
    """
    difference = by_cluster(results, measure, first, second).to_numpy()
    return float(stats.permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=draws, alternative="two-sided",
        rng=np.random.default_rng(seed)).pvalue)


def effect_size(results: pd.DataFrame, measure: str | Measure, first: str, second: str) -> float:
    """Cohen's d for paired samples over clusters: the mean of their differences over its standard deviation."""
    difference = by_cluster(results, measure, first, second)
    spread = difference.std(ddof=1)
    return float(difference.mean() / spread) if spread > 0 else float("nan")


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's (1979) step-down correction: adjusted p-values in the order given; NaN stays and does not count.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, float)
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def estimates(results: pd.DataFrame, measure: str | Measure, draws: int = 10_000) -> pd.DataFrame:
    """One measure of every system with its 95 % interval (see `draws_of`).

    Returns
    -------
    DataFrame
        A row per system, in the order of the table; ``value`` (the mean over seeds), ``low``, ``high``.
    """
    resampled = draws_of(results, measure, draws)
    values = macro(results, measure).groupby(level="system", sort=False).mean()
    return pd.DataFrame({system: dict(zip(("value", "low", "high"), (values[system], *interval(resampled[system])),
                                          strict=True)) for system in resampled}).T


def differences(results: pd.DataFrame, system: str, reference: str, measures: Iterable[str | Measure],
                draws: int = 10_000) -> pd.DataFrame:
    """A system minus a reference, paired, with 95 % intervals (see `draws_of`).

    Returns
    -------
    DataFrame
        A row per measure, by its name; ``difference``, ``low``, ``high``.
    """
    rows = {}
    pair = results[results["system"].isin([system, reference])]
    for measure in measures:
        means = macro(pair, measure)
        table = draws_of(pair, measure, draws)
        low, high = interval(table[system] - table[reference])
        rows[str(measure)] = {"difference": means[system].mean() - means[reference].mean(), "low": low, "high": high}
    return pd.DataFrame(rows).T
