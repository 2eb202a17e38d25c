"""How sure a number is: intervals from the bootstrap over articles."""

import numpy as np
import pandas as pd


def bootstrap(results, measure, draws=10_000, seed=0):
    """Macro means of all systems under resampled articles.

    The questions of an article are not independent, so whole articles are drawn with replacement (a cluster
    bootstrap; Field and Welsh 2007), the same ones for every system, so that differences of columns are
    paired. The seeds of a system are averaged first: the intervals hold the choice of articles, not that of
    seeds.

    Parameters
    ----------
    results : DataFrame
        ``system``, ``seed``, ``article``, ``query_language`` and a column ``measure`` (see
        `hybridlib.presets.Preset.results`).
    measure : str
    draws, seed : int

    Returns
    -------
    DataFrame
        ``draws`` rows, a column per system: the mean over languages of the means over queries.
    """
    systems = list(dict.fromkeys(results["system"]))
    articles = sorted(results["article"].unique())
    weights = np.random.default_rng(seed).multinomial(
        len(articles), np.full(len(articles), 1 / len(articles)), size=draws)  # (draws, articles)
    columns = {}
    for system in systems:
        grouped = results[results["system"] == system].groupby(["article", "query_language"])[measure]
        sums = grouped.sum().unstack().reindex(articles).fillna(0).to_numpy()  # (articles, languages)
        counts = grouped.count().unstack().reindex(articles).fillna(0).to_numpy()
        columns[system] = ((weights @ sums) / (weights @ counts)).mean(1)
    return pd.DataFrame(columns)


def interval(draws, level=0.95):
    """Percentile interval of bootstrap draws: ``(low, high)``.

    >>> low, high = interval(np.arange(101.0))
    >>> round(low, 6), round(high, 6)
    (2.5, 97.5)
    """
    tail = 50 * (1 - level)
    return tuple(float(value) for value in np.percentile(draws, [tail, 100 - tail]))
